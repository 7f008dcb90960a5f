"""PersistentVolumes and their claims: binding, provisioning, protection, expansion, ephemeral claims."""
