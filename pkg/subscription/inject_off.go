//go:build !o2ims_inject_loss

package subscription

// dropInjected is how the loss test proves itself: a build with the tag o2ims_inject_loss
// claims to have delivered an event that it has not. This build never does.
func dropInjected(uint64) bool { return false }
