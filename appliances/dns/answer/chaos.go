package answer

import (
	"ampoule/libos/config/zone/answers"
)

// chaos answers what class CH is used for: TXT at id.server and its kin (RFC
// 4892). It returns false for what is not known or not to be told.
func (s *Server) chaos(r *answers.Response, q *query) bool {
	if q.qtype != typeTXT && q.qtype != typeANY {
		return false
	}
	var text string
	switch string(r.Name.Bytes(0)) {
	case "\x02id\x06server\x00", "\x08hostname\x04bind\x00":
		text = s.identity
	case "\x07version\x04bind\x00", "\x07version\x06server\x00":
		text = s.version
	}
	if text == "" {
		return false
	}
	var data [1 + MaxText]byte
	data[0] = byte(len(text))
	r.Text(string(data[:1+copy(data[1:], text)]))
	return true
}

// MaxText is the longest text for class CH, and the longest NSID, in bytes.
const MaxText = 64
