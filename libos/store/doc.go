// Package store keeps named values - certificates, keys, small state - on a disk
// so that they survive a restart: all of them as one generation, which a Commit
// replaces whole or not at all.
//
// # The disk
//
// Two slots, A at byte 0 and B at byte SlotSize. A slot is a header, in the first
// sector of its first 4096 bytes, and the values from byte 4096 on. All numbers
// are little-endian.
//
//	  0  magic     "AMPSTORE"
//	  8  version   u16, 1
//	 10  state     u16, 1: a commit was begun, 2: whole
//	 12  flags     u32, bit 0: sealed with a key
//	 16  generation u64, from 1
//	 24  length    u32, bytes of the values, up to MaxSize
//	 28  count     u32, number of values
//	 32  owner     SHA-256 of "ampoule store owner" 0 and Config.Owner
//	 64  salt      32 bytes, new with each commit
//	 96  values    SHA-256 of the values
//	128  proof     HMAC-SHA256 of bytes 0 to 127; zeros without a key
//	160  checksum  SHA-256 of bytes 0 to 159
//
// The values are in strictly ascending order of their names, without gaps:
//
//	0  length of the name  u8, from 1
//	1  flags               u8, bit 0: private
//	2  zero                u16
//	4  length of the value u32
//	8  the name, then the value
//
// Behind the slots, at byte 2*SlotSize, there may be a crash record, one page:
//
//	 0  magic     "AMPCRASH"
//	 8  version   u16, 1
//	12  length    u32, bytes of the text
//	16  time      i64, nanoseconds since 1970
//	24  sum       FNV-1a of all others up to the end of the text, 64 bits
//	32  owner     as above
//	64  build     64 bytes, zeros behind
//	128 text      what the runtime said as the program died, its beginning
//
// It is neither sealed nor proven, as it is written by a program that is dying: who
// can write the disk can write another. No generation depends on it.
//
// # A commit
//
// It goes to the slot that does not hold the current generation, the first one to
// A: the header with state 1, flush; the values, flush; the header with state 2,
// flush. A cut anywhere leaves the current generation in its slot, and the new one
// counts from the moment its last header is there. State 1 is what tells a commit
// that a power cut ended from a damaged slot. The number of a commit that failed
// once it was begun is not used again.
//
// A commit first looks whether the disk holds the headers that this store knows.
// If not, another VM has the disk too, or this one was put back to an earlier
// state and its disk was not: ErrChanged, and nothing is written.
//
// # Opening
//
// The whole slot with the higher generation is taken. A damaged slot beside a
// good one is told by Status.Notice, as the values may be older than they should
// be. Without a good one, a disk that is zeros in all of both slots is new; of any
// other the error says what it is, and nothing on it is touched.
//
// # Secrets
//
// With a key of 32 bytes, two keys are derived for each commit by HKDF-SHA256
// from the key and the commit's salt. One makes the proof, so that only who has
// the key can make a generation, or change the public values of one. The other
// seals each private value with AES-256-GCM; its nonce is the value's number in
// the slot. The salt is an HMAC, under a third key, of 32 random bytes and of
// owner, generation and all values: no two commits share it, not even when disk or
// VM are put back to an earlier state, or copied with the state of the random
// generator, unless they are equal in everything. So no key and nonce seal two
// different values. The associated data is version, owner, generation and name, so that a sealed
// value is of use nowhere else. Without a key a private value is refused.
//
// What the key does not hide: names, lengths, the number of values and the
// generation. What it does not prevent: who can write the disk can put back all
// of an earlier content (both slots, or the older one), or wipe it. The store
// can not tell; a certificate so revived ends with its own dates.
package store
