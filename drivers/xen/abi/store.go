package abi

// StorePage is the page that xenstored and the VM share
// (xenstore_domain_interface): a ring of bytes for each direction. The indexes
// count bytes freely and wrap at 2^32.
type StorePage struct {
	Req        [StoreRing]byte // written by the VM
	Rsp        [StoreRing]byte // written by the store
	ReqCons    uint32
	ReqProd    uint32
	RspCons    uint32
	RspProd    uint32
	Features   uint32
	Connection uint32
	Error      uint32
}

// StoreHeader starts every message in either direction (xsd_sockmsg).
type StoreHeader struct {
	Type uint32
	ID   uint32 // of the request, echoed in the reply
	Tx   uint32 // transaction, or 0
	Len  uint32 // bytes that follow
}

// Sizes, and offsets in the page.
const (
	StoreRing       = 1024 // XENSTORE_RING_SIZE
	StorePayloadMax = 4096 // XENSTORE_PAYLOAD_MAX
	StorePathMax    = 3072 // XENSTORE_ABS_PATH_MAX
	StoreHeaderSize = 16

	StoreReq     = 0
	StoreRsp     = 1024
	StoreReqCons = 2048
	StoreReqProd = 2052
	StoreRspCons = 2056
	StoreRspProd = 2060
)

// Message types (enum xsd_sockmsg_type).
const (
	StoreDirectory  = 1
	StoreRead       = 2
	StoreGetPerms   = 3
	StoreWatch      = 4
	StoreUnwatch    = 5
	StoreTxStart    = 6
	StoreTxEnd      = 7
	StoreDomainPath = 10
	StoreWrite      = 11
	StoreMkdir      = 12
	StoreRm         = 13
	StoreWatchEvent = 15
	StoreError      = 16
)
