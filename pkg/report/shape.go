package report

// measure walks through JSON without building anything from it, and refuses a shape that
// would become much larger in memory than it is on the wire: three bytes of `{},` make a
// whole machine. It bounds the depth, the length of texts and lists, and the number of
// values. Text that is no JSON at all is left for the decoder to refuse.
func measure(body []byte) error { return inventoryBounds().measure(body) }

func (b bounds) measure(body []byte) error {
	s := shape{bounds: b}
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			end := endOfString(body, i+1)
			if end-i-1 > b.text {
				return reject(ReasonTooLarge, "a text of %d bytes is longer than %d", end-i-1, b.text)
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

// bounds are what one kind of body may be like.
type bounds struct {
	text   int             // bytes of one text, as JSON has it
	values int             // of one object, or of one list that has no bound of its own
	lists  [maxDepth]bound // of lists, by their depth
}

// bound is how long lists of one depth may be: each, and all together if that is not 0.
type bound struct {
	each, all int
	what, sum string
}

// inventoryBounds: {"nodes":[{"elements":[.
func inventoryBounds() bounds {
	b := bounds{text: MaxStringBytes, values: MaxElementsPerNode}
	b.lists[2] = bound{each: MaxNodes, what: "nodes"}
	b.lists[4] = bound{each: MaxElementsPerNode, all: MaxElements, what: "elements of one node", sum: "elements"}
	return b
}

type shape struct {
	bounds bounds
	open   [maxDepth]container
	inList [maxDepth]int // values of all lists of one depth
	depth  int
	values int
}

// value counts one more value, or the room for it, in the innermost container.
func (s *shape) value() error {
	c := &s.open[s.depth]
	c.values++
	s.values++
	limit, what := s.bounds.values, "values of one object or list"
	if b := &s.bounds.lists[s.depth]; c.list && b.each > 0 {
		limit, what = b.each, b.what
		if s.inList[s.depth]++; b.all > 0 && s.inList[s.depth] > b.all {
			return reject(ReasonTooLarge, "more than %d %s", b.all, b.sum)
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
