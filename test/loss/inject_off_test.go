//go:build !o2ims_inject_loss

package loss

const lossInjected = false
