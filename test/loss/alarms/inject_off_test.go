//go:build !o2ims_inject_loss

package alarms

const lossInjected = false
