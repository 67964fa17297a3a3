// Package inventory serves the O2 IMS infrastructure inventory: what an O-Cloud is made
// of, from the O-Cloud itself down to the parts of single servers.
//
// Records come from three places: managed clusters known to the hub become
// deploymentManagers, agents' reports become resources and resourceTypes, and what the
// administrator says (pkg/apis) becomes locations, oCloudSites and resourcePools. The API
// only reads them.
//
// Nobody has to say anything: a managed cluster that no ResourcePool selects is a pool, its
// ManagedClusterSet a site, and such sites are at one location, "unspecified". An object
// with the name of such a pool or site describes it, and its identifier stays. What is said
// and makes no sense, like a pool at a site that there is not, is as if it were not said:
// hardware never vanishes with a description.
//
// Everything is in memory, in one Model. Its writers are the reconcilers, one managed
// cluster at a time; its readers are requests, which work on an immutable Snapshot: a
// reader never waits for a writer and never sees half a cluster. The trees behind a
// snapshot share what did not change with the next one, so a change costs what the
// cluster is worth and not what the fleet is worth. Copying a map of the fleet for each
// change was the alternative; at 3,500 clusters a cold start then copies 12 million entries.
//
// A record keeps its typed value and, beside it, its JSON. Elements of servers are many
// and seldom asked for, so they are encoded when they are.
//
// What is shown is a function of the present facts and reports and of nothing else, so
// that all replicas of the manager agree whatever order the news reached them in.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, InfrastructureInventory; of
// versions 1 and 2 of the API, whose differences docs/api.md lists.
package inventory
