package zonefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ampoule/tools/configc/report"
	"ampoule/tools/configc/secret"
)

// source tells at which line of which file a record began, which the parser of
// miekg/dns does not. It reads one byte at a time, and the parser takes no more
// than the record needs, so that source has always seen just that far.
type source struct {
	readFile func(string) ([]byte, error)
	current  *lines // the reader that gave the last byte
	list     *report.List
	wrong    []problem
	secret   bool // an included file has a private key, which is reported
}

// problem is something that the parser takes, but must not be.
type problem struct {
	place
	text string
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
	for i, line := range bytes.Split(data, []byte("\n")) {
		// A name that is not absolute would be taken as one below the last origin.
		if f := bytes.Fields(line); len(f) > 1 && bytes.EqualFold(f[0], []byte("$ORIGIN")) && !bytes.HasSuffix(f[1], []byte(".")) {
			s.wrong = append(s.wrong, problem{place{file, i + 1}, fmt.Sprintf("$ORIGIN %s: the name must end with a dot", f[1])})
		}
	}
	return &lines{source: s, file: file, data: data, line: 1}, nil
}

// Open implements fs.FS for $INCLUDE. The parser takes the slash off a path from the
// root, as file systems of package fs want it: it is there if the directive has it,
// or the file that the directive is in.
func (s *source) Open(file string) (fs.File, error) {
	words := s.current.fields()
	if filepath.IsAbs(s.current.file) || len(words) > 1 && path.IsAbs(words[1]) {
		file = "/" + file
	}
	l, err := s.open(file)
	if err == nil && !secret.Check(file, l.data, s.list) {
		s.secret = true
		return nil, errSecret
	}
	return l, err
}

// errSecret says that a file has a private key.
var errSecret = errors.New("it has a private key")

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
	start   int // offset of the entry
	text    int // octets of the text in quotes so far
	longest int // of the entry
	octet   int // value of the digits of \DDD so far
	digits  int // of them still to come
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
	if l.digits > 0 {
		l.digit(c)
	}
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
		l.inside, l.entry, l.start, l.longest = true, l.line, l.at-1, 0
	}
	l.measure(c)
	switch {
	case l.escaped:
		l.escaped = false
		if l.octet, l.digits = 0, 0; c >= '0' && c <= '9' {
			l.digits = 3
			l.digit(c)
		}
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

// measure counts the octets of texts in quotes; an escaped one counts once.
func (l *lines) measure(c byte) {
	switch {
	case !l.quoted:
		l.text = 0
	case c == '"' && !l.escaped:
		l.longest = max(l.longest, l.text)
	case c != '\\' && l.digits == 0 || c == '\\' && l.escaped:
		l.text++
	}
}

// fields are the words of the entry that was read last, without its comments.
func (l *lines) fields() []string {
	text, _, _ := strings.Cut(string(l.data[l.start:l.at]), ";")
	return strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(text))
}

// digit follows \DDD, of which the parser takes any three digits (RFC 1035 section
// 5.1).
func (l *lines) digit(c byte) {
	if c < '0' || c > '9' {
		l.digits = 0
		return
	}
	l.octet = l.octet*10 + int(c-'0')
	if l.digits--; l.digits == 0 && l.octet > 255 {
		l.source.wrong = append(l.source.wrong, problem{place{l.file, l.line}, fmt.Sprintf("\\%03d is no octet: the most is \\255", l.octet)})
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
