package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"ampoule/libos/format"
)

// KeySize is the length of Config.Key in bytes.
const KeySize = 32

// overhead is what sealing adds to a value.
const overhead = 16

// keys are those of one commit; the zero value is of one without a key.
type keys struct {
	prove []byte
	seal  cipher.AEAD
}

// hedge makes a commit's salt, which is random so far, depend on all that the
// commit holds and on the key. So even random bytes that come twice, as in two
// copies of one VM, give one key and nonce to two values never: where anything
// differs the salt does, and where nothing does the sealed values are equal too.
func hedge(key []byte, h *header, names []string, values map[string]value) error {
	if key == nil {
		return nil
	}
	k, err := hkdf.Key(sha256.New, key, nil, "ampoule store v1 salt", 32)
	if err != nil {
		return format.Errorf("store: derive: %w", err)
	}
	m := hmac.New(sha256.New, k)
	m.Write(h.salt[:])
	m.Write(bound(h, ""))
	for _, name := range names {
		m.Write(appendRecord(nil, name, values[name].private, values[name].data))
	}
	m.Sum(h.salt[:0])
	return nil
}

// derive makes the keys of the commit with a header's salt.
func derive(key []byte, h *header) (keys, error) {
	if key == nil {
		return keys{}, nil
	}
	prove, err := hkdf.Key(sha256.New, key, h.salt[:], "ampoule store v1 proof", 32)
	if err != nil {
		return keys{}, format.Errorf("store: derive: %w", err)
	}
	seal, err := hkdf.Key(sha256.New, key, h.salt[:], "ampoule store v1 seal", 32)
	if err != nil {
		return keys{}, format.Errorf("store: derive: %w", err)
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return keys{}, format.Errorf("store: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return keys{}, format.Errorf("store: %w", err)
	}
	return keys{prove: prove, seal: aead}, nil
}

// proves says whether the proof of a header in p is right.
func (k keys) proves(p []byte) bool {
	return hmac.Equal(p[proofAt:checksumAt], proof(p, k.prove))
}

// nonce is that of value i.
func nonce(i uint32) []byte {
	var n [12]byte
	binary.BigEndian.PutUint32(n[8:], i)
	return n[:]
}

// bound is what a sealed value belongs to.
func bound(h *header, name string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, version)
	b = append(b, h.owner[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.generation)
	return append(b, name...)
}

// encode makes the values of a generation as they are stored, and completes the
// header but for its state.
func encode(h *header, k keys, names []string, values map[string]value) []byte {
	var p []byte
	for i, name := range names {
		v := values[name]
		stored := v.data
		if v.private {
			stored = k.seal.Seal(nil, nonce(uint32(i)), v.data, bound(h, name))
		}
		p = appendRecord(p, name, v.private, stored)
	}
	h.length, h.count, h.values = uint32(len(p)), uint32(len(names)), sha256.Sum256(p)
	return p
}

// decode is the reverse; p has the header's length.
func decode(h *header, k keys, p []byte) (map[string]value, error) {
	if sha256.Sum256(p) != h.values {
		return nil, errValues
	}
	values := make(map[string]value, h.count)
	err := records(p, h.count, func(i uint32, name string, private bool, stored []byte) error {
		v := value{private: private}
		if !private {
			v.data = append([]byte(nil), stored...)
		} else if k.seal == nil {
			return errProof
		} else {
			var err error
			if v.data, err = k.seal.Open(nil, nonce(i), stored, bound(h, name)); err != nil {
				return errProof
			}
		}
		values[name] = v
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}
