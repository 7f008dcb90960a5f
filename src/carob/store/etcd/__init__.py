"""The store on etcd v3: `store.EtcdStore`. gRPC is imported when a connection is made, not before."""
