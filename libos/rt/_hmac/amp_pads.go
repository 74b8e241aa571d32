package hmac

import "crypto/internal/fips140deps/byteorder"

// ampPads makes of a key, which is no longer than they, ipad and opad, which are of one
// length: eight bytes at a time.
func ampPads(ipad, opad, key []byte) {
	const inner, outer = 0x3636363636363636, 0x5c5c5c5c5c5c5c5c
	copy(ipad, key)
	i := 0
	for ; i+8 <= len(ipad); i += 8 {
		k := byteorder.LEUint64(ipad[i:])
		byteorder.LEPutUint64(ipad[i:], k^inner)
		byteorder.LEPutUint64(opad[i:], k^outer)
	}
	for ; i < len(ipad); i++ {
		ipad[i], opad[i] = ipad[i]^inner&0xff, ipad[i]^outer&0xff
	}
}
