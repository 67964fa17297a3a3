// Package alarms measures the monitoring API over a long history: 100,000 records in a real
// Redis with fsync on. What was measured, on which machine, and how to repeat it, is in
// RESULTS.md.
//
// Requests go through the routes of the API, without TLS and authorisation, which
// test/bench/inventory measures. Redis runs on the same cores.
package alarms
