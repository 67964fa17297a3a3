package report

import "unsafe"

// sameMemory tells whether two texts are one in memory.
func sameMemory(a, b string) bool { return unsafe.StringData(a) == unsafe.StringData(b) }
