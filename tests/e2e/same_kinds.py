"""Objects of many kinds, for `describe`: each with what its describer can show. Judged as in `same_words`."""

from __future__ import annotations

import base64

NAMESPACE = "kinds"

# openssl req -new -newkey rsa:2048 -nodes -subj /O=team/OU=x/CN=jane -addext subjectAltName=DNS:a.example.com,IP:1.2.3.4
_REQUEST = """\
-----BEGIN CERTIFICATE REQUEST-----
MIICoDCCAYgCAQAwKjENMAsGA1UECgwEdGVhbTEKMAgGA1UECwwBeDENMAsGA1UE
AwwEamFuZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAOElU1T1KSsV
IdQVHMN/kAUxAHYSFCjyxUxf0nuv83hUCEBdm+fMgPNXWRNMPEGdeHICX7cT2U+c
0Dv6J/MkmDa2+iix/S4amvuHXdZN5tS7/lX9e/2yCUvMkXlRTlN6NlNeejNKI0x7
7oQxaOe96efCd9lpL5PQcCF1IEpAPrT3LX0QJWg8BGrT13rSKipGoKtF0p//HRId
IqQpeRtQtG8JspXpO9vhbwvyNh9DpnVB2FlawwGINLoHPszp87M8z1eVuNvqeo3m
g3R/TA9ONdZZYUqhrbfBnO/+xp5IMgRMGfVCliu2qt4bWVKsvYtAveFc2T54L7CV
pbQWkFO88rsCAwEAAaAxMC8GCSqGSIb3DQEJDjEiMCAwHgYDVR0RBBcwFYINYS5l
eGFtcGxlLmNvbYcEAQIDBDANBgkqhkiG9w0BAQsFAAOCAQEAT+x/ANyALPdolGxz
yUqWOUVa1mINQw2KfPApWvJY++/kQIbfGUd/FeeOQwcL4tiE02lGRBR2qfs1CTZT
SEfqgrYMtugRp5ABcb4n8/6MCJc9V56CGz/8NvRyHgpBfE5cXShqWZQ6o8jtvwoT
y/fuNNwnrNN6o0z0p/DG51WK9fylTsy6kRVvl2g2Rz5CL9jnLLdddyL62o3CyHBC
1sBE44cMCM/4LcoeTDfJ1At4+DlZQrHmZggd+rLmBCZBHw9+GP0vPBdWCdGFH0ZJ
Jbh4l4OS/CCacvAPBoa0SE7gCtKXKpFXDv2gjueJKFCpyJ8lpvqvThdH/p/29qUX
+zMnWA==
-----END CERTIFICATE REQUEST-----
"""

OBJECTS = """\
apiVersion: v1
kind: Namespace
metadata: {name: kinds}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ds, namespace: kinds, labels: {a: b}, annotations: {note: hi}}
spec:
  selector: {matchLabels: {app: ds}, matchExpressions: [{key: tier, operator: In, values: [x, w]}]}
  template:
    metadata: {labels: {app: ds, tier: x}, annotations: {t: u}}
    spec:
      serviceAccountName: default
      priorityClassName: system-node-critical
      terminationGracePeriodSeconds: 0
      nodeSelector: {kubernetes.io/os: linux}
      tolerations: [{key: a, operator: Exists, effect: NoSchedule}]
      initContainers: [{name: i, image: "carob.local/web:v1", command: ["true"]}]
      containers: [{name: c, image: "carob.local/web:v1", ports: [{containerPort: 8080}], env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], volumeMounts: [{name: v, mountPath: /v, subPath: x}]}]
      volumes: [{name: v, emptyDir: {}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: sts, namespace: kinds}
spec:
  serviceName: sts
  replicas: 0
  selector: {matchLabels: {app: sts}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}
  template:
    metadata: {labels: {app: sts}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "carob.local/web:v1"}]}
  volumeClaimTemplates:
    - metadata: {name: data, labels: {x: w}, annotations: {volume.beta.kubernetes.io/storage-class: fast}}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: sts2, namespace: kinds, labels: {q: r}}
spec:
  serviceName: sts
  replicas: 1
  selector: {matchLabels: {app: sts2}}
  updateStrategy: {type: OnDelete}
  template:
    metadata: {labels: {app: sts2}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "carob.local/web:v1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: cj, namespace: kinds, labels: {a: b}}
spec:
  schedule: "0 0 1 1 *"
  startingDeadlineSeconds: 30
  jobTemplate:
    spec:
      parallelism: 2
      completions: 3
      activeDeadlineSeconds: 100
      template:
        metadata: {labels: {x: w}}
        spec: {restartPolicy: Never, containers: [{name: c, image: "carob.local/web:v1", command: [echo, hi], env: [{name: A, value: b}]}], volumes: [{name: v, emptyDir: {}}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: cj2, namespace: kinds}
spec:
  schedule: "0 0 1 1 *"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  suspend: true
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 0
  jobTemplate:
    metadata: {labels: {z: z}}
    spec:
      suspend: true
      template:
        spec: {restartPolicy: OnFailure, containers: [{name: c, image: "carob.local/web:v1"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: kinds}
spec:
  completions: 2
  completionMode: Indexed
  ttlSecondsAfterFinished: 10000
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: "carob.local/web:v1", command: ["true"]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job2, namespace: kinds}
spec:
  suspend: true
  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: "True"}]}]}
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: "carob.local/web:v1", command: ["true"]}]}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: rc, namespace: kinds, labels: {a: b}}
spec:
  replicas: 1
  selector: {app: rc}
  template:
    metadata: {labels: {app: rc}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "carob.local/web:v1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dep, namespace: kinds, annotations: {"kubernetes.io/change-cause": "x"}}
spec:
  replicas: 1
  selector: {matchExpressions: [{key: app, operator: In, values: [dep]}, {key: zz, operator: DoesNotExist}]}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: dep}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "carob.local/web:v1", livenessProbe: {grpc: {port: 80}, initialDelaySeconds: 1000}}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: Exists}]}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: hpa, namespace: kinds, labels: {a: b}}
spec:
  minReplicas: 1
  maxReplicas: 5
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: dep}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Pods, value: 4, periodSeconds: 15}, {type: Percent, value: 100, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 300, policies: [{type: Percent, value: 100, periodSeconds: 15}]}
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
    - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}
    - {type: ContainerResource, containerResource: {name: cpu, container: c, target: {type: Utilization, averageUtilization: 50}}}
    - {type: Pods, pods: {metric: {name: packets}, target: {type: AverageValue, averageValue: 1k}}}
    - {type: Object, object: {describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: main}, metric: {name: rps}, target: {type: Value, value: 10k}}}
    - {type: External, external: {metric: {name: q, selector: {matchLabels: {q: w}}}, target: {type: AverageValue, averageValue: 30}}}
---
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: hpa1, namespace: kinds}
spec:
  maxReplicas: 2
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nope}
  targetCPUUtilizationPercentage: 70
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: pdb, namespace: kinds}
spec: {minAvailable: 1, selector: {matchLabels: {app: dep}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: pdb2, namespace: kinds}
spec: {maxUnavailable: 10%, selector: {matchLabels: {app: sts}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: kinds}
spec:
  podSelector: {matchLabels: {app: np, b: c}}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}}, {namespaceSelector: {matchLabels: {a: b}}}, {podSelector: {matchExpressions: [{key: x, operator: Exists}]}}, {namespaceSelector: {}, podSelector: {matchLabels: {c: d}}}]
      ports: [{protocol: TCP, port: 80}, {protocol: UDP, port: dns}, {protocol: TCP, port: 100, endPort: 200}]
    - {}
  egress:
    - to: [{ipBlock: {cidr: 10.0.0.0/8}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np2, namespace: kinds, labels: {a: b}}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ing, namespace: kinds, annotations: {x: "y"}}
spec:
  ingressClassName: nginx
  tls: [{hosts: [a.example.com, b.example.com], secretName: s}, {hosts: [c.example.com]}]
  defaultBackend: {service: {name: svc, port: {number: 80}}}
  rules:
    - host: a.example.com
      http: {paths: [{path: /x, pathType: Prefix, backend: {service: {name: svc, port: {number: 80}}}}, {path: /y, pathType: Exact, backend: {service: {name: nosuch, port: {name: http}}}}]}
    - http: {paths: [{path: /z, pathType: Prefix, backend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: b}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ing2, namespace: kinds}
spec: {defaultBackend: {resource: {kind: ConfigMap, name: b}}}
---
apiVersion: v1
kind: Service
metadata: {name: svc, namespace: kinds}
spec: {selector: {app: dep}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: kinds}
spec: {clusterIP: None, selector: {app: sts}}
---
apiVersion: v1
kind: Service
metadata: {name: np, namespace: kinds}
spec: {type: NodePort, selector: {app: dep}, ports: [{name: x, port: 80, targetPort: 8080}], externalTrafficPolicy: Local, trafficDistribution: PreferClose}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: kinds-nginx, labels: {a: b}}
spec: {controller: example.com/ingress, parameters: {apiGroup: k8s.example.com, kind: P, name: x}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: pvc, namespace: kinds, labels: {a: b}}
spec: {accessModes: [ReadWriteOnce, ReadOnlyMany], resources: {requests: {storage: 1Gi}}, storageClassName: fast, dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: snap}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kinds-pv, labels: {a: b}}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: slow
  volumeMode: Block
  local: {path: /mnt}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [x, z]}]}, {matchExpressions: [{key: a, operator: Exists}, {key: b, operator: NotIn, values: [c]}]}]}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kinds-nfs}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteMany]
  mountOptions: [hard]
  nfs: {server: 10.0.0.1, path: /e}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kinds-csi}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteMany]
  csi: {driver: d.example.com, volumeHandle: h, fsType: ext4, volumeAttributes: {b: c, a: d}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kinds-host}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteMany]
  hostPath: {path: /x}
  claimRef: {namespace: kinds, name: zz}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: kinds-sc, annotations: {storageclass.kubernetes.io/is-default-class: "false"}}
provisioner: example.com/p
parameters: {b: "1", a: "2"}
mountOptions: [x, w]
allowVolumeExpansion: true
allowedTopologies: [{matchLabelExpressions: [{key: zone, values: [a, b]}]}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: kinds-sc2}
provisioner: example.com/p
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: kinds-csinode}
spec: {drivers: [{name: d.example.com, nodeID: nn, topologyKeys: [a], allocatable: {count: 3}}]}
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: {name: kinds-vac}
driverName: d.example.com
parameters: {a: b}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kinds-cidr}
spec: {cidrs: [10.99.0.0/24]}
---
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata: {name: 10.99.0.5}
spec: {parentRef: {group: "", resource: services, namespace: kinds, name: svc}}
---
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: kinds-csr}
spec: {request: @REQUEST@, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], expirationSeconds: 86400}
""".replace("@REQUEST@", base64.b64encode(_REQUEST.encode()).decode())

# the wide lines describe several kinds at once, because a process for each would take its time
DESCRIBE = """\
describe ds,sts,rc --show-events
describe deploy,rs --show-events
describe cj,job --show-events
describe hpa,pdb --show-events
describe netpol,ing --show-events
describe svc,ep --show-events
describe pvc --show-events
describe quota,limits,controllerrevisions --show-events
describe ingressclass kinds-nginx
describe pv kinds-pv kinds-nfs kinds-csi kinds-host
describe sc,vac,csinodes --show-events
describe servicecidr,ipaddresses --show-events
describe csr kinds-csr
describe flowschema exempt
describe pod -l app=sts2
"""
