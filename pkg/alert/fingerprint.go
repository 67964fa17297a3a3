package alert

import (
	"fmt"
	"maps"
	"slices"
)

// Fingerprint identifies an alert by its labels, as Alertmanager does: 16 hexadecimal
// digits. A label with an empty value counts as absent.
func Fingerprint(labels map[string]string) string {
	sum := fnvOffset
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if labels[name] == "" {
			continue
		}
		sum = fnvAdd(fnvAdd(sum, name), labels[name])
	}
	return fmt.Sprintf("%016x", sum)
}

// FNV-1a, 64 bits.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// fnvAdd adds a text and the byte that ends it, which no text in UTF-8 has.
func fnvAdd(sum uint64, text string) uint64 {
	for i := range len(text) {
		sum = (sum ^ uint64(text[i])) * fnvPrime
	}
	return (sum ^ 0xff) * fnvPrime
}
