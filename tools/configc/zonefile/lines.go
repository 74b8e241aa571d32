package zonefile

import (
	"io"
	"io/fs"
	"os"
)

// source tells at which line of which file a record began, which the parser of
// miekg/dns does not. It reads one byte at a time, and the parser takes no more
// than the record needs, so that source has always seen just that far.
type source struct {
	readFile func(string) ([]byte, error)
	current  *lines // the reader that gave the last byte
}

// place is where something stands.
type place struct {
	file string
	line int
}

// record is the place of the record that was read last.
func (s *source) record() place {
	return place{s.current.file, s.current.entry}
}

// open returns a counting reader of a file.
func (s *source) open(file string) (*lines, error) {
	data, err := s.readFile(file)
	if err != nil {
		return nil, err
	}
	return &lines{source: s, file: file, data: data, line: 1}, nil
}

// Open implements fs.FS for $INCLUDE.
func (s *source) Open(file string) (fs.File, error) { return s.open(file) }

// lines follows the syntax of RFC 1035 section 5.1 just far enough to tell
// where entries begin: an entry ends with its line unless a parenthesis is open.
type lines struct {
	source *source
	file   string
	data   []byte
	at     int
	line   int // of the next byte
	entry  int // where the last entry with any content began

	inside  bool // of an entry
	depth   int  // of parentheses
	quoted  bool
	comment bool
	escaped bool
}

func (l *lines) ReadByte() (byte, error) {
	l.source.current = l
	if l.at == len(l.data) {
		return 0, io.EOF
	}
	c := l.data[l.at]
	l.at++
	l.follow(c)
	return c, nil
}

func (l *lines) follow(c byte) {
	if c == '\n' {
		l.line++
		l.comment, l.escaped = false, false
		l.inside = l.inside && (l.depth > 0 || l.quoted)
		return
	}
	switch {
	case l.comment || c == ' ' || c == '\t' || c == '\r':
		return
	case c == ';' && !l.quoted && !l.escaped:
		l.comment = true
		return
	}
	if !l.inside {
		l.inside, l.entry = true, l.line
	}
	switch {
	case l.escaped:
		l.escaped = false
	case c == '\\':
		l.escaped = true
	case c == '"':
		l.quoted = !l.quoted
	case c == '(' && !l.quoted:
		l.depth++
	case c == ')' && !l.quoted && l.depth > 0:
		l.depth--
	}
}

// Read, Stat and Close make lines a file for the parser, which uses ReadByte.
func (l *lines) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := l.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

func (l *lines) Stat() (fs.FileInfo, error) { return os.Stat(l.file) }
func (l *lines) Close() error               { return nil }
