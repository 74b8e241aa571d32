package abi

// BlkRequest is one request of a disk (blkif_request of public/io/blkif.h, ABI
// x86_64).
type BlkRequest struct {
	Operation uint8 // Blk*
	Segments  uint8
	Handle    uint16
	_         uint32
	ID        uint64 // echoed in the response
	Sector    uint64 // of 512 bytes, whatever the disk's are
	Segment   [MaxSegments]BlkSegment
}

// BlkSegment is a part of one page, in sectors of 512 bytes, both ends included
// (blkif_request_segment).
type BlkSegment struct {
	Ref         uint32
	First, Last uint8
	_           uint16
}

// BlkResponse answers a request (blkif_response).
type BlkResponse struct {
	ID        uint64
	Operation uint8
	_         uint8
	Status    int16 // BlkOK, BlkError, BlkUnsupported
	_         uint32
}

// MaxSegments is BLKIF_MAX_SEGMENTS_PER_REQUEST, and BlkSlot the size of a slot:
// that of a request.
const (
	MaxSegments = 11
	BlkSlot     = 112
)

// Operations (BLKIF_OP_*).
const (
	BlkRead  = 0
	BlkWrite = 1
	BlkFlush = 3
)

// Status of a response (BLKIF_RSP_*).
const (
	BlkOK          = 0
	BlkError       = -1
	BlkUnsupported = -2
)

// Bits of a disk's info key (VDISK_*).
const BlkReadOnly = 4
