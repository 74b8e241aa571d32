package cli_test

import (
	"crypto/x509"

	"ampoule/tools/ampctl/client"
)

func clientFingerprint(x *x509.Certificate) string { return client.Fingerprint(x) }
