// Package secret keeps private keys out of images. A secret comes into an image
// only when the configuration says so in so many words, in a key made for it; a
// private key in any other file that the configuration names, or in the
// configuration, is an error.
package secret

import (
	"bytes"
	"regexp"

	"ampoule/tools/configc/report"
)

// keys are the beginnings of private keys in text: PEM (RFC 7468), which
// OpenSSH and OpenPGP use too, and the files of BIND's tools.
var keys = regexp.MustCompile(`-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----|(?m:^Private-key-format:)`)

// Check refuses data, the content of file, when a private key is in it, and says
// whether it is free of them.
func Check(file string, data []byte, list *report.List) bool {
	at := keys.FindIndex(data)
	if at == nil {
		return true
	}
	list.Errorf(file, 1+bytes.Count(data[:at[0]], []byte("\n")),
		"found a private key (%q), must be without: secrets are not compiled into an image", data[at[0]:at[1]])
	return false
}
