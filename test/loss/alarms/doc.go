// Package alarms tries to make the alarm path lose an alert, from the intake on a managed
// cluster to the SMO.
//
// What runs is the product: `o2ims manager` in two replicas and `o2ims agent` for each of
// three managed clusters, as processes of their own, on a real kube-apiserver, etcd and
// Redis. A generator fires, changes, repeats and resolves alerts through both doors of the
// agents, and keeps a journal of what an intake acknowledged with 200. Meanwhile managers,
// agents and Redis are killed and frozen, SMOs are restarted, and the links between all of
// them are cut and hang, by chance from a seed that is printed.
//
// At the end a checker that knows nothing of the product's code compares the generator's
// journal with the history that the API shows and with the journals of the SMOs. Every
// transition that was acknowledged must be in the history exactly once; every subscriber
// must have been told of every transition of its own once and in order; and nothing may be
// on its way any more. What was sent and never acknowledged may be there or not, but not
// twice.
//
// A build with the tag o2ims_inject_loss drops transitions on purpose, and the same test
// then passes only if the checker notices.
package alarms
