package site

// negotiate selects a variant by Accept-Encoding (RFC 9110, section 12.5.3): that of
// the highest weight, of several the smallest. Identity counts less than any coding
// that is named, unless it has a weight itself. When nothing is acceptable it is
// sent nevertheless, as section 12.4.1 allows: whoever can't read it says so better
// than we could.
func (t Table) negotiate(res resource, q *Request) variant {
	n := t.variants(res)
	f := &q.fields[acceptEncoding]
	if n == 1 || !f.there {
		return t.identity(res, n)
	}
	w := weigh(f.value)
	best, most := variant(0), 0
	for i := range n {
		v := t.variant(res, i)
		if x := w[t.coding(v)]; x > most {
			best, most = v, x
		}
	}
	if best == 0 {
		return t.identity(res, n)
	}
	return best
}

// identity returns the variant without a coding, which each resource has.
func (t Table) identity(res resource, n int) variant {
	for i := n - 1; i > 0; i-- {
		if v := t.variant(res, i); t.coding(v) == Identity {
			return v
		}
	}
	return t.variant(res, 0)
}

// weights are those of the codings: 2,000 is 1, 0 is not acceptable, and 1 is less
// than any other.
type weights [codings]int

// weigh reads the value of Accept-Encoding. What is malformed is passed over.
func weigh(list []byte) (w weights) {
	var named [codings]bool
	star := -1
	for len(list) > 0 {
		item := list
		if i := indexByte(list, ','); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		params := []byte(nil)
		if i := indexByte(item, ';'); i >= 0 {
			item, params = item[:i], item[i+1:]
		}
		item = trim(item)
		weight, ok := weight(params)
		if !ok {
			continue
		}
		if string(item) == "*" {
			star = weight
		} else if c := codingOf(item); c < codings {
			w[c], named[c] = weight, true
		}
	}
	for c := range w {
		switch {
		case named[c]:
		case star >= 0:
			w[c] = star
		case Coding(c) == Identity:
			w[c] = 1
		}
	}
	return w
}

// codingOf returns the coding of a name; codings is none of ours.
func codingOf(name []byte) Coding {
	switch {
	case equalFold(name, "gzip"), equalFold(name, "x-gzip"):
		return Gzip
	case equalFold(name, "br"):
		return Brotli
	case equalFold(name, "zstd"):
		return Zstd
	case equalFold(name, "identity"):
		return Identity
	}
	return codings
}

// weight reads a weight behind its semicolon (section 12.4.2) in 2,000ths; none is 1.
func weight(b []byte) (int, bool) {
	b = trim(b)
	if len(b) == 0 {
		return 2000, true
	}
	if len(b) < 3 || b[0]|0x20 != 'q' || b[1] != '=' || len(b) > 7 || len(b) > 3 && b[3] != '.' || b[2] > '1' || b[2] < '0' {
		return 0, false
	}
	n, unit := int(b[2]-'0')*2000, 200
	for _, c := range b[min(4, len(b)):] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n, unit = n+int(c-'0')*unit, unit/10
	}
	return n, n <= 2000
}

// trim takes blanks off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func indexByte(b []byte, c byte) int {
	for i := range b {
		if b[i] == c {
			return i
		}
	}
	return -1
}
