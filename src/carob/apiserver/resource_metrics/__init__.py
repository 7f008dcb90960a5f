"""`metrics.k8s.io`: what nodes and Pods use now, asked of the kubelets when somebody asks us."""
