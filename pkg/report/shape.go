package report

// measure walks through JSON without building anything from it, and refuses a shape that
// would become much larger in memory than it is on the wire: three bytes of `{},` make a
// whole machine. It bounds the depth, the length of texts and lists, and the number of
// values. Text that is no JSON at all is left for the decoder to refuse.
func measure(body []byte) error {
	var s shape
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			end := endOfString(body, i+1)
			if end-i-1 > MaxStringBytes {
				return reject(ReasonTooLarge, "a text of %d bytes is longer than %d", end-i-1, MaxStringBytes)
			}
			i = end
		case '{', '[':
			if s.depth++; s.depth >= maxDepth {
				return reject(ReasonTooLarge, "JSON nested deeper than %d", maxDepth)
			}
			s.open[s.depth] = container{list: body[i] == '['}
			if err := s.value(); err != nil {
				return err
			}
		case ',':
			if err := s.value(); err != nil {
				return err
			}
		case '}', ']':
			s.depth = max(0, s.depth-1)
		}
	}
	return nil
}

// endOfString returns where the quotation mark stands that ends the string begun before i.
func endOfString(body []byte, i int) int {
	for ; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(body)
}

// container is an object or a list that is open.
type container struct {
	list   bool
	values int
}

// Depths at which lists have limits of their own: {"nodes":[{"elements":[.
const (
	depthNodes    = 2
	depthElements = 4
)

type shape struct {
	open     [maxDepth]container
	depth    int
	values   int
	elements int
}

// value counts one more value, or the room for it, in the innermost container.
func (s *shape) value() error {
	c := &s.open[s.depth]
	c.values++
	s.values++
	limit, what := MaxElementsPerNode, "values of one object or list"
	switch {
	case c.list && s.depth == depthNodes:
		limit, what = MaxNodes, "nodes"
	case c.list && s.depth == depthElements:
		what = "elements of one node"
		if s.elements++; s.elements > MaxElements {
			return reject(ReasonTooLarge, "more than %d elements", MaxElements)
		}
	}
	if c.values > limit {
		return reject(ReasonTooLarge, "more than %d %s", limit, what)
	}
	if s.values > maxValues {
		return reject(ReasonTooLarge, "more than %d values", maxValues)
	}
	return nil
}
