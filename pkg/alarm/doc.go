// Package alarm serves the O2 IMS infrastructure monitoring: the alarms of an O-Cloud.
//
// Alerts enter on the managed clusters and travel in reports, see pkg/report; this package
// makes them alarm event records, keeps their history and tells subscribers. One store has
// two renderers: v1 speaks of resources, v2 of objects.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, clause 3.3.
package alarm
