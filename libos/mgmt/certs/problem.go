package certs

import "ampoule/libos/format"

// Code says why something is refused. Codes are stable: programs may go by them.
type Code string

// What a bundle is refused for.
const (
	TooLarge        Code = "bundle-too-large"
	NoPEM           Code = "pem-none"
	BadPEM          Code = "pem-malformed"
	UnknownPEM      Code = "pem-unexpected"
	NoKey           Code = "key-none"
	TwoKeys         Code = "key-twice"
	KeyEncrypted    Code = "key-encrypted"
	KeyMalformed    Code = "key-malformed"
	KeyType         Code = "key-type"
	KeyWeak         Code = "key-weak"
	KeyHuge         Code = "key-too-large"
	KeyMismatch     Code = "key-mismatch"
	KeyPresent      Code = "key-present"
	NoCertificate   Code = "cert-none"
	CertMalformed   Code = "cert-malformed"
	CertTwice       Code = "cert-twice"
	TooMany         Code = "cert-too-many"
	Version         Code = "cert-version"
	WeakSignature   Code = "signature-weak"
	BadSignature    Code = "signature-wrong"
	ChainIncomplete Code = "chain-incomplete"
	ChainStray      Code = "chain-stray"
	NotCA           Code = "chain-not-ca"
	ChainInvalid    Code = "chain-invalid"
	Expired         Code = "date-expired"
	NotYet          Code = "date-not-yet"
	NoName          Code = "name-none"
	BadName         Code = "name-malformed"
	NameMissing     Code = "name-missing"
	NameTwice       Code = "name-twice"
	Usage           Code = "usage-wrong"
	LeafIsCA        Code = "leaf-is-ca"
)

// What an OCSP response is refused for.
const (
	StapleMalformed Code = "staple-malformed"
	StapleSerial    Code = "staple-serial"
	StapleSignature Code = "staple-signature"
	StapleStatus    Code = "staple-status"
	StapleExpired   Code = "staple-expired"
	StapleNotYet    Code = "staple-not-yet"
)

// What a revocation list is refused for.
const (
	CRLMalformed Code = "crl-malformed"
	CRLSignature Code = "crl-signature"
	CRLDates     Code = "crl-dates"
	CRLLost      Code = "crl-lost"
)

// What an operation is refused for.
const (
	SlotName    Code = "slot-name"
	SlotsFull   Code = "slots-full"
	SlotMissing Code = "slot-missing"
	Fingerprint Code = "fingerprint"
	LockOut     Code = "locks-out"
	Busy        Code = "transaction-busy"
	Nothing     Code = "nothing-staged"
	Conflict    Code = "generation-conflict"
	NoPrevious  Code = "no-previous"
	StoreFailed Code = "store-failed"
)

// Problem is why something is refused: nothing has changed.
type Problem struct {
	Code     Code
	Slot     string // the slot, or empty: it is not about one
	Sentence string // for people
}

// Error implements error.
func (p *Problem) Error() string { return p.Sentence }

func refuse(code Code, sentence string, args ...any) *Problem {
	return &Problem{Code: code, Sentence: format.Sprintf(sentence, args...)}
}
