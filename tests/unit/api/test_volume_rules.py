"""What upstream refuses of volumes, their claims and their attachments: one row a rule."""

from __future__ import annotations

import pytest

from tests.unit.api.ruling import built, said

VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: v}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: c}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {serviceAccountName: default, containers: [{name: c, image: i}]}
"""
TEMPLATE = """
apiVersion: v1
kind: PodTemplate
metadata: {name: t}
template: {spec: {containers: [{name: c, image: i}]}}
"""
ATTACHMENT = """
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: a}
spec: {attacher: a.example.com, nodeName: n}
"""
SUBDOMAIN = "a lowercase RFC 1123 subdomain"
LABEL = "a lowercase RFC 1123 label"
IQN = "iqn.2001-04.com.example:storage"


def told(problems: list[str]) -> list[str]:
    """Without the long words of names."""
    return [p.split(" must consist of")[0] for p in problems]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (
            "iscsi: {targetPortal: '', iqn: x, lun: 300, chapAuthSession: true, initiatorName: iqn.x}",
            [
                "spec.iscsi.targetPortal: Required value",
                'spec.iscsi.iqn: Invalid value: "x": must be valid format',
                "spec.iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive",
                "spec.iscsi.secretRef: Required value",
                'spec.iscsi.initiatorname: Invalid value: "iqn.x": must be valid format',
            ],
        ),
        (
            f"iscsi: {{targetPortal: p, iqn: '{IQN}', lun: 0, secretRef: {{}}}}",
            ["spec.iscsi.secretRef.name: Required value"],
        ),
        (
            f"iscsi: {{targetPortal: {'p' * 63}, iqn: '{IQN}', lun: 0, initiatorName: '{IQN}'}}",
            [
                f'spec.iscsi.targetportal: Invalid value: "{"p" * 63}": Total length of <volume name>:<iscsi.targetPortal> '
                "must be under 64 characters if iscsi.initiatorName is specified."
            ],
        ),
        (
            "glusterfs: {endpoints: '', path: '', endpointsNamespace: ''}",
            [
                "spec.glusterfs.endpoints: Required value",
                "spec.glusterfs.path: Required value",
                'spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a '
                "valid namespace name",
            ],
        ),
        (
            "glusterfs: {endpoints: e, path: p, endpointsNamespace: A}",
            [f'spec.glusterfs.endpointsNamespace: Invalid value: "A": {LABEL}'],
        ),
        (
            "storageos: {volumeNamespace: A, secretRef: {}}",
            [
                "spec.storageos.volumeName: Required value",
                f'spec.storageos.volumeNamespace: Invalid value: "A": {LABEL}',
                "spec.storageos.secretRef.name: Required value",
                "spec.storageos.secretRef.namespace: Required value",
            ],
        ),
        (
            "csi: {driver: d.example.com, volumeHandle: h, nodeStageSecretRef: {}, nodePublishSecretRef: {name: A, namespace: B}}",
            [
                f'spec.csi.nodePublishSecretRef.name: Invalid value: "A": {SUBDOMAIN}',
                f'spec.csi.nodePublishSecretRef.namespace: Invalid value: "B": {LABEL}',
            ],
        ),
        ("cinder: {volumeID: v, secretRef: {name: A}}", ["spec.cinder.secretRef.namespace: Required value"]),
        (
            "hostPath: {path: /x}\nnfs: {server: s, path: /p}",
            ["spec.nfs: Forbidden: may not specify more than 1 volume type"],
        ),
    ],
)
def test_places_of_volumes(source: str, wanted: list[str]) -> None:
    assert told(said(built(VOLUME, "spec:\n  " + source.replace("\n", "\n  ")))) == wanted


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            "spec: {capacity: {storage: -1}, accessModes: [X]}",
            [
                'spec.accessModes: Unsupported value: "X": supported values: "ReadOnlyMany", "ReadWriteMany", '
                '"ReadWriteOnce", "ReadWriteOncePod"',
                "spec.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
                'spec.capacity[storage]: Invalid value: "-1": must be greater than zero',
            ],
        ),
        (
            "spec: {volumeAttributesClassName: ''}",
            [
                "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ],
        ),
        (
            "spec: {nodeAffinity: {}}",
            ["spec.nodeAffinity.required: Required value: must specify required node constraints"],
        ),
    ],
)
def test_volumes(change: str, wanted: list[str]) -> None:
    assert told(said(built(VOLUME, "spec: {hostPath: {path: /x}}", change))) == wanted


AFFINITY = "spec: {nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: KEY, operator: In, values: [a]}]}]}}}"


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (AFFINITY.replace("KEY", "beta.kubernetes.io/os"), AFFINITY.replace("KEY", "kubernetes.io/os"), []),
        (
            AFFINITY.replace("KEY", "a"),
            AFFINITY.replace("KEY", "b"),
            ["field is immutable, except for updating from beta label to GA"],
        ),
        (
            "spec: {csi: {driver: d.example.com, volumeHandle: h}}",
            "spec: {csi: {controllerExpandSecretRef: {name: s, namespace: n}}}",
            [],
        ),
        (
            "spec: {csi: {driver: d.example.com, volumeHandle: h}, volumeAttributesClassName: a}",
            "spec: {volumeAttributesClassName: null}",
            ["spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"],
        ),
    ],
)
def test_changes_of_volumes(before: str, after: str, wanted: list[str]) -> None:
    place = "" if "csi" in before else "spec: {hostPath: {path: /x}}"
    old = built(VOLUME, place or {}, before)
    problems = said(built(old, after), old)
    assert len(problems) == len(wanted)
    assert all(problem.endswith(words) for problem, words in zip(problems, wanted, strict=True))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            "{dataSource: {kind: Pod, name: x}}",
            [
                "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default "
                "apiGroup"
            ],
        ),
        (
            "{dataSource: {kind: PersistentVolumeClaim, name: x}, dataSourceRef: {kind: PersistentVolumeClaim, name: y}}",
            ["spec: Invalid value: {}: must match dataSourceRef"],
        ),
        (
            "{dataSource: {kind: PersistentVolumeClaim, name: x}, "
            "dataSourceRef: {kind: PersistentVolumeClaim, name: x, namespace: A}}",
            [
                f'spec.dataSourceRef.namespace: Invalid value: "A": {LABEL}',
                "spec: Invalid value: {}: may not be specified when dataSourceRef.namespace is specified",
            ],
        ),
        (
            "{resources: {requests: {storage: -1}}}",
            ['spec.resources[storage]: Invalid value: "-1": must be greater than zero'],
        ),
    ],
)
def test_claims(change: str, wanted: list[str]) -> None:
    assert told(said(built(CLAIM, f"spec: {change}"))) == wanted


IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
OLD_CLASS = "metadata: {annotations: {volume.beta.kubernetes.io/storage-class: CLASS}}"


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("{}", "spec: {storageClassName: a}", []),
        ("status: {phase: Bound}", "spec: {storageClassName: a}", []),
        (OLD_CLASS.replace("CLASS", "a"), "spec: {storageClassName: a}", []),
        (OLD_CLASS.replace("CLASS", "b"), "spec: {storageClassName: a}", [f"spec: Forbidden: {IMMUTABLE}"]),
        (
            OLD_CLASS.replace("CLASS", "a"),
            OLD_CLASS.replace("CLASS", "b"),
            [
                'metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: "b": field is immutable',
            ],
        ),
        (
            "status: {phase: Bound}\nspec: {volumeAttributesClassName: a}",
            "spec: {volumeAttributesClassName: ''}",
            ["spec.volumeAttributesClassName: Forbidden: update from non-nil value to an empty string is forbidden"],
        ),
    ],
)
def test_changes_of_claims(before: str, after: str, wanted: list[str]) -> None:
    old = built(CLAIM, before)
    assert [p.split("\n")[0] for p in said(built(old, after), old)] == wanted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (
            "{capacity: {storage: -1Gi}}",
            ["status.capacity[storage]: Invalid value: -1073741824: must be a valid resource quantity"],
        ),
        (
            "{allocatedResourceStatuses: {cpu: X}}",
            [
                'status.allocatedResourceStatus: Unsupported value: "cpu": supported values: "storage"',
                'status.allocatedResourceStatus: Unsupported value: "cpu": supported values: '
                '"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", '
                '"NodeResizeInfeasible", "NodeResizePending"',
            ],
        ),
        ("{allocatedResourceStatuses: {storage: NodeResizePending, a.example.com/b: NodeResizePending}}", []),
        (
            "{allocatedResources: {cpu: 1}}",
            ['status.allocatedResources: Unsupported value: "cpu": supported values: "storage"'],
        ),
    ],
)
def test_states_of_claims(status: str, wanted: list[str]) -> None:
    assert said(built(CLAIM, f"status: {status}"), built(CLAIM), "status") == wanted


@pytest.mark.parametrize(
    ("volume", "wanted"),
    [
        (
            "{ephemeral: {volumeClaimTemplate: {metadata: {name: x, labels: {a: b}, uid: u, finalizers: [a/b]}, "
            "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}",
            [
                f"spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.{name}: Forbidden: cannot be set"
                for name in ("name", "uID", "finalizers")
            ],
        ),
        ("{image: {}}", ["spec.volumes[0].image.reference: Required value"]),
        (
            f"{{emptyDir: {{}}, iscsi: {{targetPortal: {'p' * 63}, iqn: '{IQN}', lun: 0, initiatorName: '{IQN}'}}}}",
            [
                "spec.volumes[0].iscsi: Forbidden: may not specify more than 1 volume type",
                'spec.volumes[0].name: Invalid value: "v": Total length of <volume name>:<iscsi.targetPortal> must be '
                "under 64 characters if iscsi.initiatorName is specified.",
            ],
        ),
    ],
)
def test_volumes_of_pods(volume: str, wanted: list[str]) -> None:
    change = built("spec: {}", {"spec": {"volumes": [built(volume, "name: v")]}})
    assert said(built(POD, change)) == wanted


def test_variables_come_from_files_of_empty_folders_alone() -> None:
    """Source: KEP-3721."""

    def problems(volumes: str) -> list[str]:
        env = "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: a.env, key: K}}}]"
        return said(built(POD, f"spec: {{containers: [{{name: c, image: i, {env}}}], volumes: {volumes}}}"))

    path = "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName"
    assert problems("[{name: v, emptyDir: {}}]") == []
    assert problems("[]") == [f'{path}: Not found: "v"']
    words = 'Invalid value: "v": referenced volume must be of type emptyDir'
    assert problems("[{name: v, hostPath: {path: /tmp}}]") == [f"{path}: {words}"]


def test_the_image_of_a_templates_volume_may_come_later() -> None:
    change = {"template": {"spec": {"volumes": [{"name": "v", "image": {}}]}}}
    assert said(built(TEMPLATE, change)) == []


@pytest.mark.parametrize(
    ("volume", "wanted"),
    [
        (
            "{claimRef: {name: a}, capacity: {storage: 1}, nodeAffinity: {}, storageClassName: a, volumeMode: Block, "
            "persistentVolumeReclaimPolicy: Delete, hostPath: {path: /x}}",
            [
                *(
                    f"{name}: Forbidden: may not be specified in the context of inline volumes"
                    for name in ("claimRef", "capacity")
                ),
                "csi: Required value: has to be specified in the context of inline volumes",
                "accessModes: Required value",
                "persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
                "nodeAffinity: Forbidden: may not be specified in the context of inline volumes",
                "storageClassName: Forbidden: may not be specified in the context of inline volumes",
                "volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes",
            ],
        ),
    ],
)
def test_volumes_inside_of_attachments(volume: str, wanted: list[str]) -> None:
    change = {"spec": {"source": {"inlineVolumeSpec": built(volume)}}}
    assert said(built(ATTACHMENT, change)) == [f"spec.source.inlineVolumeSpec.{one}" for one in wanted]
