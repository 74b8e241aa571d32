package abi

import "unsafe"

// Sizes and offsets; a change that moves a field does not compile.
var (
	_ [RingEntries]byte = [unsafe.Sizeof(RingHeader{})]byte{}
	_ [12]byte          = [unsafe.Sizeof(TxRequest{})]byte{}
	_ [4]byte           = [unsafe.Sizeof(TxResponse{})]byte{}
	_ [8]byte           = [unsafe.Sizeof(RxRequest{})]byte{}
	_ [8]byte           = [unsafe.Sizeof(RxResponse{})]byte{}
	_ [8]byte           = [unsafe.Sizeof(Extra{})]byte{}
	_ [16]byte          = [unsafe.Sizeof(StoreHeader{})]byte{}
	_ [2076]byte        = [unsafe.Sizeof(StorePage{})]byte{}
	_ [3088]byte        = [unsafe.Sizeof(ConsolePage{})]byte{}

	_ [RingReqProd]byte  = [unsafe.Offsetof(RingHeader{}.ReqProd)]byte{}
	_ [RingReqEvent]byte = [unsafe.Offsetof(RingHeader{}.ReqEvent)]byte{}
	_ [RingRspProd]byte  = [unsafe.Offsetof(RingHeader{}.RspProd)]byte{}
	_ [RingRspEvent]byte = [unsafe.Offsetof(RingHeader{}.RspEvent)]byte{}

	_ [StoreReq]byte     = [unsafe.Offsetof(StorePage{}.Req)]byte{}
	_ [StoreRsp]byte     = [unsafe.Offsetof(StorePage{}.Rsp)]byte{}
	_ [StoreReqCons]byte = [unsafe.Offsetof(StorePage{}.ReqCons)]byte{}
	_ [StoreReqProd]byte = [unsafe.Offsetof(StorePage{}.ReqProd)]byte{}
	_ [StoreRspCons]byte = [unsafe.Offsetof(StorePage{}.RspCons)]byte{}
	_ [StoreRspProd]byte = [unsafe.Offsetof(StorePage{}.RspProd)]byte{}

	_ [ConsoleInAt]byte    = [unsafe.Offsetof(ConsolePage{}.In)]byte{}
	_ [ConsoleOutAt]byte   = [unsafe.Offsetof(ConsolePage{}.Out)]byte{}
	_ [ConsoleInCons]byte  = [unsafe.Offsetof(ConsolePage{}.InCons)]byte{}
	_ [ConsoleInProd]byte  = [unsafe.Offsetof(ConsolePage{}.InProd)]byte{}
	_ [ConsoleOutCons]byte = [unsafe.Offsetof(ConsolePage{}.OutCons)]byte{}
	_ [ConsoleOutProd]byte = [unsafe.Offsetof(ConsolePage{}.OutProd)]byte{}
)
