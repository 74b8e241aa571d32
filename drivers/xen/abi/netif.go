package abi

// RingHeader is the part of a shared ring before its entries (public/io/ring.h,
// DEFINE_RING_TYPES). The indexes count freely and wrap at 2^32; an entry's slot
// is its index modulo the number of entries.
type RingHeader struct {
	ReqProd  uint32 // requests made, written by the frontend
	ReqEvent uint32 // the backend wants an event when ReqProd passes this
	RspProd  uint32 // responses made, written by the backend
	RspEvent uint32 // the frontend wants an event when RspProd passes this
	_        [48]byte
}

// Offsets in a ring page.
const (
	RingReqProd  = 0
	RingReqEvent = 4
	RingRspProd  = 8
	RingRspEvent = 12
	RingEntries  = 64
)

// TxRequest is one page of a frame to send (netif_tx_request). A frame's first
// request has the size of the whole frame.
type TxRequest struct {
	Ref    uint32
	Offset uint16 // of the first byte in the page
	Flags  uint16 // Tx*
	ID     uint16 // echoed in the response
	Size   uint16 // bytes; in a frame's first request, of all requests together
}

// TxResponse answers a TxRequest, or with TxNull the extra info after one
// (netif_tx_response).
type TxResponse struct {
	ID     uint16
	Status int16 // Rsp*
}

// RxRequest offers a page for receiving (netif_rx_request).
type RxRequest struct {
	ID  uint16 // echoed in the response
	_   uint16
	Ref uint32
}

// RxResponse says what is in a page (netif_rx_response).
type RxResponse struct {
	ID     uint16
	Offset uint16 // of the first byte in the page
	Flags  uint16 // Rx*
	Status int16  // bytes, or Rsp* when negative
}

// Extra is extra info of the kind ExtraGSO (netif_extra_info). It takes the
// place of an entry that would follow: of a request, where four bytes of padding
// come after it, or of a response.
type Extra struct {
	Type     uint8
	Flags    uint8  // ExtraMore
	Size     uint16 // payload bytes of a segment
	GSO      uint8  // GSOTCP4, GSOTCP6
	_        uint8
	Features uint16
}

// Flags of a TxRequest (NETTXF_*).
const (
	TxChecksumBlank = 1 << 0 // the checksum field holds the pseudo-header's sum only
	TxValidated     = 1 << 1 // the data is known to be good
	TxMore          = 1 << 2 // the frame goes on in the next request
	TxExtra         = 1 << 3 // extra info follows
)

// Flags of an RxResponse (NETRXF_*).
const (
	RxValidated     = 1 << 0
	RxChecksumBlank = 1 << 1
	RxMore          = 1 << 2
	RxExtra         = 1 << 3
	RxGSOPrefix     = 1 << 4 // an older form of GSO, which the frontend must ask for
)

// Extra info (XEN_NETIF_EXTRA_*, XEN_NETIF_GSO_TYPE_*).
const (
	ExtraGSO  = 1
	ExtraMax  = 5 // kinds are below this
	ExtraMore = 1 // flag: further extra info follows

	GSOTCP4 = 1
	GSOTCP6 = 2
)

// Status of a response (NETIF_RSP_*).
const (
	RspDropped = -2
	RspError   = -1
	RspOK      = 0
	RspNull    = 1
)

// MaxTxSize is the largest frame to send, in bytes (XEN_NETIF_MAX_TX_SIZE).
// MinSlots is how many requests of one frame every backend takes, extra info not
// counted (XEN_NETIF_NR_SLOTS_MIN).
const (
	MaxTxSize = 0xffff
	MinSlots  = 18
)
