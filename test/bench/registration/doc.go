// Package registration measures whether registering with a slow or failing SMO delays
// notifications to the same SMO. What was measured, on which machine, and how to repeat it,
// is in RESULTS.md.
//
// The engine that delivers, the client that both use, its tokens, and Redis are those of
// production; the SMO and its token endpoint are in the measuring process. The schedule of
// registrations is that of production, with a clock that runs faster.
package registration
