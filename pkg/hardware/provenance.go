package hardware

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// provenance holds, for the server and every element, the letter of the source of each
// attribute: scope ("server" or "class|slot") → attribute ("port.mac") → letter.
type provenance map[string]map[string]string

func (p provenance) set(scope, attribute, letter string) {
	if p[scope] == nil {
		p[scope] = map[string]string{}
	}
	p[scope][attribute] = letter
}

// compact says the same with fewer words: for the server, each class and each element
// the letter that most of their attributes have, and then the exceptions.
func (p provenance) compact() map[string]string {
	counts := map[string]map[string]int{} // "server", class, or "class|slot" → letter → attributes
	count := func(name, letter string) {
		if counts[name] == nil {
			counts[name] = map[string]int{}
		}
		counts[name][letter]++
	}
	for scope, attributes := range p {
		class, _, isElement := strings.Cut(scope, "|")
		for _, letter := range attributes {
			count(scope, letter)
			if isElement {
				count(class, letter)
			}
		}
	}

	compacted := map[string]string{}
	// A class is shorter than its elements, so it comes first and they only differ from it.
	shortestFirst := func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }
	for _, name := range slices.SortedFunc(maps.Keys(counts), shortestFirst) {
		class, _, _ := strings.Cut(name, "|")
		if letter := mostFrequent(counts[name]); compacted[class] != letter {
			compacted[name] = letter
		}
	}
	for scope, attributes := range p {
		class, _, _ := strings.Cut(scope, "|")
		for attribute, letter := range attributes {
			if cmp.Or(compacted[scope], compacted[class]) != letter {
				compacted[scope+"."+attribute] = letter
			}
		}
	}
	return compacted
}

func mostFrequent(counts map[string]int) string {
	best := ""
	for _, letter := range slices.Sorted(maps.Keys(counts)) {
		if best == "" || counts[letter] > counts[best] {
			best = letter
		}
	}
	return best
}

// SourceOf returns the letter of the source that set the attribute at path, such as
// "server.serial" or "port|0000:01:00.0.port.mac": that of the longest entry of a
// machine's Prov which is a prefix of path and ends where a part of it ends.
func SourceOf(prov map[string]string, path string) string {
	longest, letter := -1, ""
	for prefix, l := range prov {
		if len(prefix) > longest && isPathPrefix(prefix, path) {
			longest, letter = len(prefix), l
		}
	}
	return letter
}

func isPathPrefix(prefix, path string) bool {
	if !strings.HasPrefix(path, prefix) {
		return false
	}
	return len(prefix) == len(path) || path[len(prefix)] == '.' || path[len(prefix)] == '|'
}
