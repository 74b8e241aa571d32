package site

// verdict is what the preconditions of a request come to.
type verdict uint8

const (
	perform verdict = iota
	notModified
	failed
)

// judge evaluates the preconditions of GET and HEAD in the order of RFC 9110,
// section 13.2.2. A date that is none, or a resource without one, makes a condition
// on dates void (sections 13.1.3 and 13.1.4).
func (t Table) judge(res resource, v variant, q *Request) verdict {
	modified := t.modified(res)
	if f := &q.fields[ifMatch]; f.there {
		if !matches(f.value, t.tag(v), false) {
			return failed
		}
	} else if f := &q.fields[ifUnmodifiedSince]; f.there && modified != 0 {
		if date, ok := ParseDate(f.value); ok && modified > date {
			return failed
		}
	}
	if f := &q.fields[ifNoneMatch]; f.there {
		if matches(f.value, t.tag(v), true) {
			return notModified
		}
	} else if f := &q.fields[ifModifiedSince]; f.there && modified != 0 {
		if date, ok := ParseDate(f.value); ok && modified <= date {
			return notModified
		}
	}
	return perform
}

// sameRange says whether If-Range lets a Range count (section 13.1.5): there is none,
// or it has the entity tag, strong, or the exact date.
func (t Table) sameRange(res resource, v variant, q *Request) bool {
	f := &q.fields[ifRange]
	if !f.there {
		return true
	}
	if len(f.value) > 0 && f.value[0] == '"' {
		return string(f.value) == t.tag(v)
	}
	modified := t.modified(res)
	date, ok := ParseDate(f.value)
	return ok && modified != 0 && date == modified
}

// matches says whether a list of entity tags has that one, which is strong, or is
// "*". The comparison is the weak one or the strong one (section 8.8.3.2). A list
// that is malformed counts up to there.
func matches(list []byte, tag string, weak bool) bool {
	list = trim(list)
	if string(list) == "*" {
		return true
	}
	for len(list) > 0 {
		if c := list[0]; c == ',' || c == ' ' || c == '\t' {
			list = list[1:]
			continue
		}
		isWeak := len(list) > 2 && list[0] == 'W' && list[1] == '/'
		if isWeak {
			list = list[2:]
		}
		if list[0] != '"' {
			return false
		}
		end := indexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if string(list[:end+2]) == tag && (weak || !isWeak) {
			return true
		}
		list = list[end+2:]
	}
	return false
}
