package zonefile

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// readKey reads one key: NAME.key has its DNSKEY record, NAME.private the other
// half (BIND's private-key format 1.2 and 1.3).
func readKey(name, origin string, readFile func(string) ([]byte, error)) (key, error) {
	public, err := readFile(name + ".key")
	if err != nil {
		return key{}, fmt.Errorf(".key can't be read: %w", reason(err))
	}
	rr, err := dns.NewRR(string(public))
	if err != nil {
		return key{}, fmt.Errorf(".key: %s", strings.TrimPrefix(err.Error(), "dns: "))
	}
	k, ok := rr.(*dns.DNSKEY)
	switch {
	case !ok:
		return key{}, errors.New(".key: has no DNSKEY record")
	case !isName(k.Hdr.Name, origin):
		return key{}, fmt.Errorf(".key: a key of %s, must be of %s", k.Hdr.Name, origin)
	case k.Flags&dns.ZONE == 0 || k.Protocol != 3:
		return key{}, errors.New(".key: not a zone key (RFC 4034 section 2.1)")
	case k.Flags&dns.REVOKE != 0:
		return key{}, errors.New(".key: is revoked (RFC 5011)")
	}
	switch k.Algorithm {
	case dns.RSASHA256, dns.ECDSAP256SHA256, dns.ED25519:
	default:
		return key{}, fmt.Errorf(".key: algorithm %d (%s); those signed with are 8, 13 and 15",
			k.Algorithm, dns.AlgorithmToString[k.Algorithm])
	}
	private, err := readFile(name + ".private")
	if err != nil {
		return key{}, fmt.Errorf(".private can't be read: %w", reason(err))
	}
	p, err := k.ReadPrivateKey(bytes.NewReader(private), name+".private")
	if err != nil {
		return key{}, errors.New(".private: not a private key of that algorithm")
	}
	signer, ok := p.(crypto.Signer)
	if !ok {
		return key{}, errors.New(".private: not a key that signs")
	}
	if err := fits(k, signer); err != nil {
		return key{}, err
	}
	return key{DNSKEY: k, signer: signer}, nil
}

// fits makes sure that both halves belong together, by a signature.
func fits(k *dns.DNSKEY, signer crypto.Signer) error {
	set := []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: k.Hdr.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"test"}}}
	sig := &dns.RRSIG{Algorithm: k.Algorithm, KeyTag: k.KeyTag(), SignerName: dns.CanonicalName(k.Hdr.Name), Inception: 1, Expiration: 2}
	if err := sig.Sign(signer, set); err != nil {
		return fmt.Errorf(".private: can't sign: %s", strings.TrimPrefix(err.Error(), "dns: "))
	}
	if err := sig.Verify(k, set); err != nil {
		return errors.New(".private: does not belong to the .key")
	}
	return nil
}

// reason is what went wrong with a file, without its name.
func reason(err error) error {
	var perr *os.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}
