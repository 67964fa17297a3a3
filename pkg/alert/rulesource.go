package alert

// Rules are the alerting rules of the managed cluster, as they were read last. It is safe
// for concurrent use.
type Rules interface {
	// Hash is the SHA-256 of the body, 64 hexadecimal digits, or "" while the rules are
	// not known.
	Hash() string

	// Body is the body of a rules report; see report.CanonicalRules. While there is none
	// the error wraps fault.Unavailable.
	Body() ([]byte, error)
}
