package answer

// Presentation writes a name in wire format as zone files have it (RFC 1035
// section 5.1).
func Presentation(name string) string {
	if len(name) < 2 {
		return "."
	}
	var b []byte
	for name[0] != 0 {
		n := 1 + int(name[0])
		for _, c := range []byte(name[1:n]) {
			switch {
			case c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
				b = append(b, '\\', c)
			case c <= ' ' || c >= 0x7f:
				b = append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			default:
				b = append(b, c)
			}
		}
		b = append(b, '.')
		name = name[n:]
	}
	return string(b)
}
