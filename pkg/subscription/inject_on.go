//go:build o2ims_inject_loss

package subscription

// injectedSeq is the event that nobody gets. Any will do that is not a subscription's own.
const injectedSeq = 333

func dropInjected(seq uint64) bool { return seq == injectedSeq }
