"""Command lines that kubectl 1.37 and carob must answer alike, and the objects that they are asked about.

A line is split as a shell splits it; `-n same` is added by the test. kubectl's own whims (Go's random order of maps)
are left out: `label --list` of several, `{..name}`, `logs --all-containers`.
"""

from __future__ import annotations

NAMESPACE = "same"

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: same, labels: {zone: prod, version: v1}, annotations: {note: "hi: there"}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "carob.local/web:v1", ports: [{containerPort: 8080, name: http}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: pair, namespace: same, labels: {app: pair}}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: site, emptyDir: {}}]
  initContainers: [{name: prep, image: "carob.local/web:v1", command: [sh, -c, "echo prepared"]}]
  containers:
    - name: web
      image: carob.local/web:v1
      env: [{name: ROOT, value: /site}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
      resources: {limits: {memory: 64Mi}}
      volumeMounts: [{name: site, mountPath: /site}]
    - name: sync
      image: carob.local/web:v1
      command: [sh, -c, "echo line1; echo line2; echo err >&2; echo synchronized for a rather long while > /site/index.html; sleep 3600"]
      volumeMounts: [{name: site, mountPath: /site}]
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: same}
spec:
  restartPolicy: Never
  containers: [{name: c, image: "carob.local/web:v1", command: [sh, -c, "echo bye; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: huge, namespace: same}
spec: {containers: [{name: c, image: "carob.local/web:v1", resources: {requests: {cpu: "1000"}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: noconf, namespace: same}
spec: {containers: [{name: c, image: "carob.local/web:v1", envFrom: [{configMapRef: {name: missing}}]}]}
"""

RICH = """\
apiVersion: v1
kind: Pod
metadata:
  name: rich
  namespace: same
  labels: {app: rich}
  annotations:
    long: "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    lines: "a\\nb\\nc\\n"
spec:
  serviceAccountName: builder
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: [{key: a, operator: Equal, value: b, effect: NoSchedule}, {operator: Exists, key: zz}]
  securityContext: {seccompProfile: {type: RuntimeDefault}}
  readinessGates: [{conditionType: example.com/gate}]
  topologySpreadConstraints:
    - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: rich}}}
  volumes:
    - {name: e, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
    - {name: h, hostPath: {path: /tmp, type: Directory}}
    - {name: cm, configMap: {name: settings, optional: true}}
    - {name: s, secret: {secretName: sec}}
    - {name: d, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}, {path: c, resourceFieldRef: {containerName: main, resource: limits.cpu}}]}}
    - {name: p, projected: {sources: [{secret: {name: sec}}, {configMap: {name: settings, optional: true}}, {downwardAPI: {items: [{path: nn, fieldRef: {fieldPath: metadata.name}}]}}]}}
  containers:
    - name: main
      image: carob.local/web:v1
      command: [sh, -c, "sleep 3600\\nexit 3"]
      args: [a, "b c"]
      ports: [{name: web, containerPort: 8080}, {containerPort: 53, protocol: UDP}]
      resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 100m, memory: 32Mi, ephemeral-storage: 1Mi}}
      livenessProbe: {httpGet: {path: /x, port: web, scheme: HTTP}, initialDelaySeconds: 1000, periodSeconds: 1000}
      readinessProbe: {exec: {command: [cat, /x]}, initialDelaySeconds: 1000}
      startupProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 1000}
      envFrom: [{configMapRef: {name: settings, optional: true}, prefix: P_}, {secretRef: {name: sec}}]
      env:
        - {name: A, value: "1"}
        - {name: M, value: "l1\\nl2"}
        - {name: E, value: ""}
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: L, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
        - {name: R, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
        - {name: RC, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
        - {name: S, valueFrom: {secretKeyRef: {name: sec, key: a}}}
        - {name: C, valueFrom: {configMapKeyRef: {name: settings, key: nope, optional: true}}}
      volumeMounts: [{name: e, mountPath: /e}, {name: h, mountPath: /h, readOnly: true}, {name: s, mountPath: /s}, {name: d, mountPath: /d}, {name: p, mountPath: /p}]
"""

OTHERS = """\
apiVersion: v1
kind: Namespace
metadata: {name: same, labels: {team: blue}, annotations: {owner: someone}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: lr, namespace: same}
spec: {limits: [{type: PersistentVolumeClaim, max: {storage: 1Gi}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: same}
data: {a: "1", text: "two\\nlines\\n", "yes": "no"}
binaryData: {blob: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: sec, namespace: same}
stringData: {a: hidden}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder, namespace: same, labels: {a: b}}
imagePullSecrets: [{name: pull}]
---
apiVersion: v1
kind: Service
metadata: {name: svc, namespace: same, labels: {a: b}}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80, targetPort: 8080}, {name: x, port: 81, targetPort: web, protocol: UDP}], sessionAffinity: ClientIP}
---
apiVersion: v1
kind: Service
metadata: {name: ext, namespace: same}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r, namespace: same}
rules: [{apiGroups: [""], resources: [pods, pods/log], verbs: [get, list]}, {apiGroups: [apps], resources: [deployments], resourceNames: [x], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: rb, namespace: same}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: builder, namespace: same}, {kind: User, name: jane, apiGroup: rbac.authorization.k8s.io}]
"""

# What a file may hold that is wrong; the test writes them into a folder, and lines name them as @name.
FILES = {
    "pods": PODS,
    "cm": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fresh}\ndata: {a: b}\n",
    "nover": "kind: Pod\nmetadata: {name: x}\n",
    "nokind": "apiVersion: v1\nmetadata: {name: x}\n",
    "syntax": "a: [b\n",
    "text": "just text\n",
    "empty": "",
    "unknown": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, foo: 1}], bar: 2}\n",
    "type": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, ports: [{containerPort: abc}]}]}\n",
    "noname": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\ndata: {a: b}\n",
    "elsewhere": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: kube-system}\n",
    "boolname": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n",
    "generated": "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: x-}\n",
    "list": (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}\n"
    ),
    "badkind": "apiVersion: v1\nkind: Nope\nmetadata: {name: x}\n",
    "columns": "NAME IP\n.metadata.name .status.podIP\n",
    "path": "{.metadata.name}{.nope}",
    "template": "{{.kind}}\n{{range .spec.containers}}{{.image}}{{end}}",
    "env": "A=1\nB=two words\n# c\nC\n",
}

GET = """\
get pods
get po
get pods -o wide
get pods -A
get pods,svc -o wide
get pods web pair
get pod/web svc/svc
get pod web -o json
get pod web -o yaml
get pod web pair -o yaml
get pod pair -o kyaml
get pod/web -o name
get pods -o name
get pods -o json
get pods -o yaml
get nodes -o wide
get node node-0 -o yaml
get ns -o json
get all
get svc
get sa,cm,secret
get cm,secret -o yaml
get deploy
get deploy,rs,sts
get nosuch
get pods nosuch
get pods nosuch web
get pods nosuch web -o json
get pods nosuch --ignore-not-found
get pods -l app=nosuch
get pods -l app=nosuch -A
get pods -l app=nosuch -o name
get pods -l app=nosuch -o yaml
get pods -l app=nosuch --ignore-not-found
get pods -l a=b=c
get pods -l 'app in (pair)'
get pods -l '!version'
get pods --field-selector status.phase=Running
get pods --field-selector spec.nosuch=web
get pods --field-selector x
get pods --sort-by=.metadata.creationTimestamp
get pods --sort-by='{.status.podIP}' -o name
get pods --sort-by=.metadata.labels.app
get pods --sort-by=.nope
get pods --sort-by=.nope -o name
get pods --show-labels
get pods -L app
get pods -L app,version -L zone
get pods --no-headers -o wide
get pods --show-kind
get pods -o custom-columns=N:.metadata.name,IP:.status.podIP,C:.spec.containers[*].name,L:.metadata.labels,Z:.zz
get pods -o custom-columns=N:.metadata.name --no-headers
get pods -o custom-columns=A:metadata.name,B:.spec.terminationGracePeriodSeconds,C:.spec.containers[0].resources
get pods -o custom-columns=A
get pods -o custom-columns
get pods -o custom-columns=A:
get pods -o custom-columns-file=/nosuch
get pods -o custom-columns-file=@columns --no-headers
get pods -o custom-columns-file=@text
get pods -o custom-columns-file
get pod web -o jsonpath-file=@path
get pod web -o jsonpath-file
get pod web -o go-template-file=@template
get pod web -o go-template-file=/nosuch
get pod web --template='{{.kind}}{{"\\n"}}'
get pods -o 'go-template={{range $i, $p := .items}}{{$i}}={{$p.metadata.name}} {{with $p.metadata.labels}}{{.}}{{else}}-{{end}}{{"\\n"}}{{end}}'
get pods -o 'go-template={{range .items}}{{if and (eq .status.phase "Running") .metadata.labels.app}}{{.metadata.name | printf "%q"}}{{end}}{{end}}'
get pod web -o 'go-template={{.spec}} {{.nope}} {{len .metadata.labels}}{{- /* x */ -}} y'
get secret sec -o 'go-template={{.data.a | base64decode}} {{exists . "data" "b"}}'
get cm settings -o 'go-template={{.kind}} {{.metadata.name.foo}}'
get cm settings -o go-template={{.nope}} --allow-missing-template-keys=false
get pod web -o 'go-template={{foo .}}'
get pod web -o 'go-template={{range .a}}'
get pod web -o jsonpath={.metadata.name}
get pods -o 'jsonpath={range .items[*]}{.metadata.name}{"\\t"}{.status.podIP}{"\\n"}{end}'
get pods -o jsonpath={.items[0]}
get pods -o 'jsonpath={.items[?(@.metadata.name=="web")].status.podIP}'
get pods -o 'jsonpath={.items[?(@.spec.terminationGracePeriodSeconds>1)].metadata.name}'
get pods -o 'jsonpath={.items[?(@.metadata.labels.app)].metadata.name}'
get pods -o 'jsonpath={.items[?(@.metadata.name!="web")].metadata.name}'
get pods -o jsonpath={.items[-1].metadata.name}
get pods -o jsonpath={.items[0:2].metadata.name}
get pods -o jsonpath={.items[::2].metadata.name}
get pods -o jsonpath={.items[0,2].metadata.name}
get pods -o "jsonpath={.items[*]['metadata.name','status.podIP']}"
get pods -o jsonpath={.items[50].metadata.name}
get pods -o jsonpath={.nope}
get pods -o jsonpath={.items
get pods -o jsonpath={end}
get pods -o 'jsonpath={range .items[*]}x{.metadata.name}'
get pods -o jsonpath={.items[a]}
get pods -o 'jsonpath={.items[?(@.a=}'
get pods -o jsonpath={}
get pods -o 'jsonpath={.items[*].metadata.annotations.kubectl\\.kubernetes\\.io/last-applied-configuration}'
get pods -o jsonpath-as-json={.items[*].metadata.name}
get pods -o jsonpath
get pods -o foo
get pods -o wide=1
get pods --foo
get pods -zx
get pods -A=x
get pods --chunk-size=a
get pods -o
get pods --output
get pods --watch=7
get pods --all-namespaces web
get pods web -l a=b
get
get -f @pods
get -f @nosuch
get -f @pods -o name
get -f @pods web
get pods/web/x
get pods/
get pod web svc/svc
get pods.v1. web
get pods.v1
get deploy.v1.apps
get foo.bar
get pods --chunk-size=1
get --raw /version
get --raw /nosuch
get --raw /api/v1/namespaces/same/pods?limit=1
get pod web -w --request-timeout=1s -o name
get clusterroles view
get pods --request-timeout=x
get pods --server-print=false
get pods --context nosuch
get pods --cluster nosuch
get pods --kubeconfig /nosuch
get pods --subresource status
get pod web --subresource status -o yaml
get pods --as bob
"""

DESCRIBE = """\
describe
describe nosuch
describe pod web
describe pod web pair
describe pod we
describe pod nosuch
describe pods done
describe pods -l app=pair
describe pods -l app=nosuch
describe pod rich
describe pod huge
describe pods --show-events=false
describe node node-0 --show-events=false
describe ns same
describe cm
describe cm settings
describe secret sec
describe sa default
describe sa builder
describe svc svc
describe svc ext
describe limits
describe role r
describe rolebinding rb
describe clusterrole view
describe clusterrolebinding cluster-admin
describe priorityclass system-node-critical
describe lease -n kube-node-lease
describe endpointslice kubernetes -n default
describe -f @pods
describe pod/web svc/svc
"""

CHANGE = """\
apply
apply -f @nosuch
apply -f @cm --dry-run=client
apply -f @cm --dry-run=server
apply -f @cm --dry-run=client -o yaml
apply -f @nover
apply -f @nokind
apply -f @syntax
apply -f @text
apply -f @empty
apply -f @unknown
apply -f @unknown --validate=warn --dry-run=server
apply -f @unknown --validate=false --dry-run=server
apply -f @unknown --validate=foo
apply -f @type
apply -f @noname
apply -f @elsewhere
apply -f @boolname
apply -f @generated
apply -f @list --dry-run=client
apply -f @list --dry-run=server
apply -f @list --dry-run=client -o name
apply -f @badkind
apply -f @pods
apply -f @pods --dry-run=server
apply -f @pods --dry-run=client -o yaml
apply --server-side -f @cm --dry-run=server
apply --server-side -f @cm --dry-run=client
apply -f @cm foo
apply -f @cm -o foo
create
create -f @nosuch
create -f @pods
create -f @pods --dry-run=client -o yaml
create foo
create namespace
create ns n1 --dry-run=client -o yaml
create namespace n1 --dry-run=server
create ns default
create configmap
create cm x y
create configmap x --from-literal=a --dry-run=client
create configmap x --from-file=k=@env --dry-run=client -o yaml
create configmap x --from-file=k=@env --dry-run=client -o json
create configmap x --from-file=/nosuch --dry-run=client -o yaml
create configmap x --from-env-file=@env --dry-run=client -o yaml
create configmap x --from-literal=a=1 --from-literal=a=2 --dry-run=client -o yaml
create configmap x --from-literal=a=1 --append-hash --dry-run=client -o name
create configmap x --from-literal=a/b=1 --dry-run=client -o yaml
create cm x --dry-run=foo
create cm x -o foo
create secret generic s --from-literal=a=b --dry-run=client -o yaml
create secret generic s --from-literal=a=b --append-hash --dry-run=client -o name
create secret docker-registry s --docker-server=x --docker-username=u --docker-password=p --docker-email=e --dry-run=client -o yaml
create secret tls s --cert=/x --key=/y
create sa sa --dry-run=client -o json
create token nosuch
create token
create deployment d --image=a/b:c --replicas=2 --port=80 --dry-run=client -o yaml
create deployment d --image=a --dry-run=client -o json
create deployment d --image=a --image=c --dry-run=client -o yaml -- x y
create deployment d
create job j --image=i --dry-run=client -o yaml -- a
create role r --verb=get --verb=list,watch --resource=pods,rs.apps,pods/log --dry-run=client -o yaml
create role r --verb=get --resource=pods --resource-name=a --resource-name=b --dry-run=client -o json
create role r --verb=get --resource=pods,svc --resource-name=a --dry-run=client
create role r --verb=* --resource=* --dry-run=client -o yaml
create role r --verb=get
create role r --resource=pods
create role r --verb=foo --resource=pods --dry-run=client
create role r --verb=get --resource=nosuch --dry-run=client
create role r --verb=get --resource=nosuch.x.y --dry-run=client
create role r --verb=bind --resource=pods --dry-run=client
create role r --verb=get --resource=/x --dry-run=client
create role
create role a b --verb=get --resource=pods
create role r --verb=use --resource=psp --dry-run=client -o name
create clusterrole c --verb=get,list --resource=nodes,deploy --dry-run=client -o yaml
create clusterrole c --verb=get --non-resource-url=/healthz,/livez/* --dry-run=client -o yaml
create clusterrole c --verb=get --resource=pods --non-resource-url=/x --dry-run=client -o yaml
create clusterrole c --verb=watch --non-resource-url=/x --dry-run=client -o yaml
create clusterrole c --verb=get --non-resource-url=x --dry-run=client -o yaml
create clusterrole c --verb=get --non-resource-url=/x*y --dry-run=client -o yaml
create clusterrole c --verb=get --non-resource-url=/x --resource-name=a --dry-run=client -o yaml
create clusterrole c --aggregation-rule=a/b=c --dry-run=client -o yaml
create clusterrole c --aggregation-rule=a=b --dry-run=client -o json
create clusterrole c --aggregation-rule=a=b --verb=get --dry-run=client -o json
create clusterrole c --verb=get
create clusterrole c
create clusterrolebinding b --clusterrole=admin --user=u --group=g --serviceaccount=n:s --dry-run=client -o yaml
create clusterrolebinding b --clusterrole=admin --dry-run=client -o yaml
create clusterrolebinding b
create clusterrolebinding b --clusterrole=x --serviceaccount=a
create clusterrolebinding --clusterrole=x
create rolebinding b --role=r --user=u --dry-run=client -o yaml
create rolebinding b
create rolebinding b --role=a --clusterrole=b
create cronjob c --image=i --schedule="* * * * *" --dry-run=client -o yaml
create cj c --image=i --schedule=@daily --restart=Never --dry-run=client -o json -- a b
create cronjob c --image=i
create cronjob c
create cronjob c --schedule=x
create job j --image=i --from=cronjob/x
create job j
create job j --from=cronjob/nosuch
create job j --from=pod/nosuch
create ingress i --rule=a.com/=s:80 --dry-run=client -o yaml
create ingress i --class=c --rule=a.com/b*=s:http,tls=cert --rule=a.com/c=t:81,tls --rule=/d*=u:1,tls=x --default-backend=d:80 --annotation=a=b --annotation=c= --dry-run=client -o yaml
create ingress i --rule=a.com/=s:80,tls --rule=b.com/=s:80,tls=q --dry-run=client -o json
create ing i --rule=a.com
create ingress i --rule=a.com/=s:80,foo --dry-run=client -o yaml
create ingress i --default-backend=x
create ingress i --default-backend=x:1 --dry-run=client -o yaml
create ingress i --rule=a.com/=s:80 --annotation=x
create ingress i
create pdb p --selector=a=b --min-available=1 --dry-run=client -o yaml
create poddisruptionbudget p --selector=a=b,c!=d,e --max-unavailable=50% --dry-run=client -o json
create pdb p --selector="x in (b,a),!y" --max-unavailable=50% --dry-run=client -o yaml
create pdb p
create pdb p --selector=a=b
create pdb p --selector=a=b --min-available=1 --max-unavailable=1
create pdb p --selector=a=b --min-available=x
create pdb p --selector="a in (" --min-available=1 --dry-run=client
create pc p --value=5 --dry-run=client -o yaml
create quota q --hard=cpu=1,memory=1G,pods=2 --scopes=BestEffort,NotTerminating --dry-run=client -o yaml
create resourcequota q --hard=cpu=1000m --dry-run=client -o json
create quota q --hard=cpu
create quota q --hard=cpu=x --dry-run=client
create quota q --dry-run=client -o yaml
create quota q --scopes=a,,b --dry-run=client -o yaml
create service clusterip s --tcp=80:8080 --tcp=443:https --dry-run=client -o yaml
create svc clusterip s --tcp=80 --clusterip=10.0.0.1 --dry-run=client -o json
create service clusterip s --clusterip=None --dry-run=client -o yaml
create service clusterip s
create service clusterip s --tcp=x
create service clusterip s --tcp=80:0 --dry-run=client
create service clusterip s --tcp=80:UPPER --dry-run=client
create service clusterip s --tcp=70000 --dry-run=client
create service nodeport s --tcp=80 --node-port=30001 --dry-run=client -o yaml
create service nodeport s
create service loadbalancer s --tcp=80:81 --dry-run=client -o yaml
create service externalname s --external-name=a.com --dry-run=client -o yaml
create service externalname s --external-name=a.com --tcp=80 --dry-run=client -o yaml
create service externalname s
create service clusterip
create service externalname s --external-name=x_y --dry-run=client
create role rr --verb=get --resource=pods --dry-run=server
create quota kube --hard=pods=1 --dry-run=server -o name
create clusterrole admin --verb=get --resource=pods
create priorityclass p --dry-run=client -o yaml
create priorityclass p --value=x
create priorityclass p --value=5 --global-default --description="a b" --preemption-policy=Never --dry-run=client -o json
create clusterrole admin --verb=get --resource=pods
replace
replace foo
replace -f @nosuch
replace -f @pods --dry-run=client
replace -f @pods --grace-period=1
replace -f @pods --timeout=1s
diff -f @nosuch
diff
version foo
version -o foo
cluster-info
config view
config view -o json
config view --minify
config view foo
config view -o jsonpath={.current-context}
config get-contexts
config get-contexts -o name
config get-contexts nosuch
config get-contexts --no-headers
config get-contexts -o wide
config get-clusters
config get-users
config current-context
config use-context nosuch
config delete-context nosuch
config rename-context a b
config set-cluster c --embed-certs
run
run x
run x --image=carob.local/web:v1 --rm
run x --image='a b'
run x --image=i --port=80 --env=A=b --labels=a=1,b=2 --annotations=x=y --dry-run=client -o yaml -- a b
run x --image=i --restart=Never --dry-run=client -o json
run x --image=i --command --dry-run=client -o yaml -- a b
run x --image=i --restart=Foo
run x --image=i -t
run x --image=i --expose --port=80 --dry-run=client -o yaml
run x --image=i --dry-run=server
run x --image=i -i --dry-run=client
run x --image=i --port=a --dry-run=client -o yaml
run x --image=i --env=A --dry-run=client -o yaml
run x --image=i --dry-run=client -o yaml --overrides='{"spec":{"nodeName":"n"}}'
label pods a=b
label pod web
label pod web zz-
label pod web version=v9
label pod web a=b a-
label pods --all -l x=y a=b
label
label pod nosuch a=b
label pod web a=b --dry-run=client
label pod web 'a=&&'
label pod web version=v1
label pod web a=b --resource-version=1
label --local -f @cm -o yaml a=b
annotate pod web
annotate pod web note=c
annotate pod web note=c --dry-run=server --overwrite
annotate pod web note=x note-
patch pod
patch pod web
patch pod web -p {}
patch pod web --type=json -p '[{"op":"remove","path":"/metadata/labels/zz"}]'
patch pod web --type=foo -p {}
patch pod nosuch -p {}
patch pod web -p x
patch pod web -p '{'
patch pod web -p '{"metadata":{"labels":{"x":"1"}}}' --dry-run=client
patch pod web -p '{"metadata":{"labels":{"x":"1"}}}' --dry-run=server
patch pod web -p '{"spec":{"foo":1}}' --dry-run=server
scale pod web --replicas=1
scale deploy nosuch --replicas=1
scale
cordon
cordon nosuch
cordon node-0 --dry-run=client
expose pod web --port=80 --target-port=8080 --name=ex --type=NodePort --dry-run=client -o yaml
expose pod web --dry-run=client -o yaml
expose pod nosuch --port=1
expose pod huge --port=80
expose node node-0 --port=1
delete
delete pod
delete pod nosuch
delete pod nosuch --ignore-not-found
delete pods -l a=nosuch
delete pods --all -l x=y
delete pod web -l x=y
delete pod web --dry-run=client
delete pod web --dry-run=server
delete pod web -o name --dry-run=client
delete -f @cm
delete -f @nosuch
delete pod web --cascade=foo
delete pod web --now --grace-period=3
delete pod web --grace-period=x
delete pod web -A
delete pods,cm
delete pod/nosuch svc/nosuch
delete pod web -o foo
"""

LOOK = """\
logs
logs nosuch
logs web
logs pair
logs pair sync
logs pair -c nosuch
logs pair -c prep
logs pair -c sync --tail=1
logs pair -c sync --tail=0
logs pair -c sync --tail=-2
logs pair --timestamps -c sync
logs pair --prefix -c sync
logs done
logs done -p
logs huge
logs noconf
logs pod/pair -c sync
logs -l app=pair -c sync --prefix
logs -l app=nosuch
logs pair -l app=pair
logs pair -c sync --since=1h
logs pair -c sync --since=-1h
logs pair -c sync --since=4
logs pair -c sync --since-time=foo
logs pair -c sync --limit-bytes=4
logs pair sync web
logs pair sync -c web
logs node/node-0
logs pair --all-containers -c sync
wait --for=foo pod/web
wait pod/web
wait --for=condition=Ready
wait --for=condition=Ready pod/web pod/pair
wait --for=condition=Ready pods -l app=pair
wait --for=condition=Ready pod -l a=z
wait --for=condition=Ready pod/done --timeout=1s
wait --for=condition=Ready pod/done --timeout=0
wait --for=condition=Ready=False pod/done
wait --for=jsonpath={.status.phase}=Running pod/web
wait --for=jsonpath={.status.phase}=Foo pod/web --timeout=1s
wait --for=jsonpath={.status.podIP} pod/web
wait --for=jsonpath={.status.phase pod/web
wait --for=jsonpath={.status.phase}= pod/web
wait --for=delete pod/nosuch
wait --for=create pod/web
wait --for=condition=Ready pod/nosuch
wait --for=condition=Ready pod/web -o name
wait --for=condition=Ready pods --timeout=1s
exec
exec web
exec web ls
exec web -- ls /
exec web -- sh -c 'echo out; echo err >&2; exit 7'
exec pair -- hostname
exec pair -c nosuch -- ls
exec pair -c prep -- ls
exec done -- ls
exec nosuch -- ls
exec web -- nosuchcommand
exec -it web -- ls /
exec node/node-0 -- ls
attach
attach nosuch
attach done
cp
cp web:/a web:/b
cp /nosuch web:/
cp a b
cp :/a b
port-forward web
port-forward web x
port-forward nosuch 80
port-forward done 80
events --for pod/done
events --for pod/nosuch
events --types=Foo
auth can-i list pods
auth can-i list pods --as bob
auth can-i --list
auth can-i get foo
auth can-i
auth can-i get /healthz
auth can-i list nodes
auth whoami
api-resources
api-resources -o wide
api-resources -o name
api-resources --api-group=apps
api-resources --namespaced=false --no-headers
api-resources foo
api-resources -o foo
api-versions
explain pod
explain pods.spec.containers.ports
explain pod.spec.restartPolicy
explain pod.nosuch
explain nosuch
explain
explain pod --recursive
explain deploy.spec.replicas
explain cm.data
frobnicate
"""
