package shell

import (
	"errors"
	"strconv"
	"strings"
)

const help = `status                         what runs, and how it is
health | ready | metrics       as it says
crash                          what the last run that crashed said
log [LINES]                    the last lines of the log
log level [LEVEL]              show or change it
certs list | staged            what is in force; what is staged
certs stage SLOT               a chain and its key, as PEM on the standard input
authorities stage SLOT         authorities, likewise
staples stage SLOT             an OCSP response for the slot's certificate, DER or PEM
crls stage SLOT                revocation lists of the slot's authorities, as PEM
certs | authorities | staples | crls remove SLOT
revoke | restore SHA256        a management client's certificate
certs validate                 what would a commit be refused for?
certs commit GENERATION        put what is staged in the place of a generation
certs rollback GENERATION      put the generation before in the place of this one
certs abort                    forget what is staged
with --json at the end: the answer as JSON
`

// action is a command as a request of the plane.
type action struct {
	method, path, query string
	generation          string // that is to be replaced
	word                string // the body
	body                bool   // it is read from the standard input
	json                bool
}

var errCommand = errors.New("no such command; help lists them")

// verbs are the commands that take nothing more.
func verb(words string) (method, path string) {
	switch words {
	case "status":
		return "GET", "/v1/status"
	case "health":
		return "GET", "/healthz"
	case "ready":
		return "GET", "/readyz"
	case "metrics":
		return "GET", "/metrics"
	case "crash":
		return "GET", "/v1/crash"
	case "log":
		return "GET", "/v1/log"
	case "log level":
		return "GET", "/v1/log/level"
	case "certs list":
		return "GET", "/v1/certificates"
	case "certs staged":
		return "GET", "/v1/staged"
	case "certs validate":
		return "POST", "/v1/staged/validate"
	case "certs abort":
		return "POST", "/v1/staged/abort"
	}
	return "", ""
}

// parse reads a command.
func parse(line string) (a action, err error) {
	words := strings.Fields(line)
	if n := len(words); n > 0 && words[n-1] == "--json" {
		a.json, words = true, words[:n-1]
	}
	if len(words) == 0 || len(words) == 1 && words[0] == "help" {
		return a, nil
	}
	if a.method, a.path = verb(strings.Join(words, " ")); a.method != "" {
		return a, nil
	}
	last := words[len(words)-1]
	if strings.ContainsAny(last, "/?%#") {
		return a, errCommand
	}
	switch strings.Join(words[:len(words)-1], " ") {
	case "log":
		a.method, a.path, a.query = "GET", "/v1/log", "lines="+last
	case "log level":
		a.method, a.path, a.word = "PUT", "/v1/log/level", last
	case "certs stage":
		a.method, a.path, a.body = "PUT", "/v1/staged/certificates/"+last, true
	case "authorities stage":
		a.method, a.path, a.body = "PUT", "/v1/staged/authorities/"+last, true
	case "staples stage":
		a.method, a.path, a.body = "PUT", "/v1/staged/staples/"+last, true
	case "staples remove":
		a.method, a.path = "DELETE", "/v1/staged/staples/"+last
	case "crls stage":
		a.method, a.path, a.body = "PUT", "/v1/staged/crls/"+last, true
	case "crls remove":
		a.method, a.path = "DELETE", "/v1/staged/crls/"+last
	case "certs remove":
		a.method, a.path = "DELETE", "/v1/staged/certificates/"+last
	case "authorities remove":
		a.method, a.path = "DELETE", "/v1/staged/authorities/"+last
	case "revoke":
		a.method, a.path = "PUT", "/v1/staged/revoked/"+last
	case "restore":
		a.method, a.path = "DELETE", "/v1/staged/revoked/"+last
	case "certs commit":
		a.method, a.path, a.generation = "POST", "/v1/staged/commit", last
	case "certs rollback":
		a.method, a.path, a.generation = "POST", "/v1/certificates/rollback", last
	default:
		return a, errCommand
	}
	return a, nil
}

// readable turns JSON, as the plane writes it, into lines: a name and a value each,
// indented by depth.
func readable(json []byte) (out []byte) {
	depth := -1
	start := true // of a line
	indent := func(mark string) {
		if !start {
			out = append(out, '\n')
		}
		for range max(depth, 0) {
			out = append(out, "  "...)
		}
		out = append(out, mark...)
		start = false
	}
	for i := 0; i < len(json); i++ {
		switch c := json[i]; c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', '\n':
		case ':':
			out = append(out, ": "...)
		case '"':
			end := i + 1
			for end < len(json) && json[end] != '"' {
				if json[end] == '\\' {
					end++
				}
				end++
			}
			text, err := strconv.Unquote(string(json[i:min(end+1, len(json))]))
			if err != nil {
				text = string(json[i+1 : min(end, len(json))])
			}
			i = end
			if !followsName(out) {
				indent("")
			}
			out = append(out, strconv.Quote(text)[1:]...)
			out = out[:len(out)-1]
		default:
			out = append(out, c)
		}
	}
	return append(out, '\n')
}

// followsName says whether a value is to come on the line.
func followsName(out []byte) bool {
	return len(out) > 1 && out[len(out)-2] == ':' && out[len(out)-1] == ' '
}
