// Package inventory measures the inventory API at fleet size. What was measured, on which
// machine, and how to repeat it, is in RESULTS.md.
//
// Every request goes through the whole server: TLS, authentication and authorisation from
// their caches, log, metrics, compression. What it is compared with goes through the same
// server, and so pays for the same. Client and server share one process and its cores.
//
// Meanwhile one managed cluster of the pool changes each second. No request can be
// answered from a whole body that was kept: filters, pages and servers are chosen at
// random for each.
package inventory
