package abi

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"
)

// pin is a C expression and what it must be.
type pin struct {
	c  string
	is int64
}

func offset(typ, field string, is uintptr) pin {
	return pin{fmt.Sprintf("offsetof(%s, %s)", typ, field), int64(is)}
}

func size(typ string, is uintptr) pin { return pin{"sizeof(" + typ + ")", int64(is)} }

func layouts() []pin {
	var (
		ring RingHeader
		txq  TxRequest
		txr  TxResponse
		rxq  RxRequest
		rxr  RxResponse
		ext  Extra
		xs   StoreHeader
		xsp  StorePage
		con  ConsolePage
	)
	return []pin{
		size("netif_tx_request_t", unsafe.Sizeof(txq)), size("netif_tx_response_t", unsafe.Sizeof(txr)),
		size("netif_rx_request_t", unsafe.Sizeof(rxq)), size("netif_rx_response_t", unsafe.Sizeof(rxr)),
		size("netif_extra_info_t", unsafe.Sizeof(ext)), size("struct xsd_sockmsg", unsafe.Sizeof(xs)),
		size("struct xenstore_domain_interface", unsafe.Sizeof(xsp)), size("struct xencons_interface", unsafe.Sizeof(con)),
		size("union netif_tx_sring_entry", unsafe.Sizeof(txq)), size("union netif_rx_sring_entry", unsafe.Sizeof(rxq)),
		offset("struct netif_tx_sring", "req_prod", unsafe.Offsetof(ring.ReqProd)),
		offset("struct netif_tx_sring", "req_event", unsafe.Offsetof(ring.ReqEvent)),
		offset("struct netif_tx_sring", "rsp_prod", unsafe.Offsetof(ring.RspProd)),
		offset("struct netif_tx_sring", "rsp_event", unsafe.Offsetof(ring.RspEvent)),
		offset("struct netif_tx_sring", "ring", unsafe.Sizeof(ring)),
		offset("struct netif_rx_sring", "ring", RingEntries),
		offset("netif_tx_request_t", "gref", unsafe.Offsetof(txq.Ref)),
		offset("netif_tx_request_t", "offset", unsafe.Offsetof(txq.Offset)),
		offset("netif_tx_request_t", "flags", unsafe.Offsetof(txq.Flags)),
		offset("netif_tx_request_t", "id", unsafe.Offsetof(txq.ID)),
		offset("netif_tx_request_t", "size", unsafe.Offsetof(txq.Size)),
		offset("netif_tx_response_t", "id", unsafe.Offsetof(txr.ID)),
		offset("netif_tx_response_t", "status", unsafe.Offsetof(txr.Status)),
		offset("netif_rx_request_t", "id", unsafe.Offsetof(rxq.ID)),
		offset("netif_rx_request_t", "gref", unsafe.Offsetof(rxq.Ref)),
		offset("netif_rx_response_t", "id", unsafe.Offsetof(rxr.ID)),
		offset("netif_rx_response_t", "offset", unsafe.Offsetof(rxr.Offset)),
		offset("netif_rx_response_t", "flags", unsafe.Offsetof(rxr.Flags)),
		offset("netif_rx_response_t", "status", unsafe.Offsetof(rxr.Status)),
		offset("netif_extra_info_t", "type", unsafe.Offsetof(ext.Type)),
		offset("netif_extra_info_t", "flags", unsafe.Offsetof(ext.Flags)),
		offset("netif_extra_info_t", "u.gso.size", unsafe.Offsetof(ext.Size)),
		offset("netif_extra_info_t", "u.gso.type", unsafe.Offsetof(ext.GSO)),
		offset("netif_extra_info_t", "u.gso.features", unsafe.Offsetof(ext.Features)),
		offset("struct xsd_sockmsg", "type", unsafe.Offsetof(xs.Type)),
		offset("struct xsd_sockmsg", "req_id", unsafe.Offsetof(xs.ID)),
		offset("struct xsd_sockmsg", "tx_id", unsafe.Offsetof(xs.Tx)),
		offset("struct xsd_sockmsg", "len", unsafe.Offsetof(xs.Len)),
		offset("struct xenstore_domain_interface", "req", StoreReq),
		offset("struct xenstore_domain_interface", "rsp", StoreRsp),
		offset("struct xenstore_domain_interface", "req_cons", StoreReqCons),
		offset("struct xenstore_domain_interface", "req_prod", StoreReqProd),
		offset("struct xenstore_domain_interface", "rsp_cons", StoreRspCons),
		offset("struct xenstore_domain_interface", "rsp_prod", StoreRspProd),
		offset("struct xencons_interface", "in", ConsoleInAt),
		offset("struct xencons_interface", "out", ConsoleOutAt),
		offset("struct xencons_interface", "in_cons", ConsoleInCons),
		offset("struct xencons_interface", "in_prod", ConsoleInProd),
		offset("struct xencons_interface", "out_cons", ConsoleOutCons),
		offset("struct xencons_interface", "out_prod", ConsoleOutProd),
	}
}

func constants() []pin {
	return []pin{
		{"NETTXF_csum_blank", TxChecksumBlank}, {"NETTXF_data_validated", TxValidated},
		{"NETTXF_more_data", TxMore}, {"NETTXF_extra_info", TxExtra},
		{"NETRXF_csum_blank", RxChecksumBlank}, {"NETRXF_data_validated", RxValidated},
		{"NETRXF_more_data", RxMore}, {"NETRXF_extra_info", RxExtra}, {"NETRXF_gso_prefix", RxGSOPrefix},
		{"XEN_NETIF_EXTRA_TYPE_GSO", ExtraGSO}, {"XEN_NETIF_EXTRA_TYPE_MAX", ExtraMax},
		{"XEN_NETIF_EXTRA_FLAG_MORE", ExtraMore},
		{"XEN_NETIF_GSO_TYPE_TCPV4", GSOTCP4}, {"XEN_NETIF_GSO_TYPE_TCPV6", GSOTCP6},
		{"NETIF_RSP_DROPPED", RspDropped}, {"NETIF_RSP_ERROR", RspError},
		{"NETIF_RSP_OKAY", RspOK}, {"NETIF_RSP_NULL", RspNull},
		{"XEN_NETIF_MAX_TX_SIZE", MaxTxSize}, {"XEN_NETIF_NR_SLOTS_MIN", MinSlots},
		{"XENSTORE_RING_SIZE", StoreRing}, {"XENSTORE_PAYLOAD_MAX", StorePayloadMax},
		{"XENSTORE_ABS_PATH_MAX", StorePathMax}, {"sizeof(struct xsd_sockmsg)", StoreHeaderSize},
		{"XS_DIRECTORY", StoreDirectory}, {"XS_READ", StoreRead}, {"XS_GET_PERMS", StoreGetPerms},
		{"XS_WATCH", StoreWatch}, {"XS_UNWATCH", StoreUnwatch},
		{"XS_TRANSACTION_START", StoreTxStart}, {"XS_TRANSACTION_END", StoreTxEnd},
		{"XS_GET_DOMAIN_PATH", StoreDomainPath}, {"XS_WRITE", StoreWrite}, {"XS_MKDIR", StoreMkdir},
		{"XS_RM", StoreRm}, {"XS_WATCH_EVENT", StoreWatchEvent}, {"XS_ERROR", StoreError},
		{"sizeof(((struct xencons_interface *)0)->in)", ConsoleIn},
		{"sizeof(((struct xencons_interface *)0)->out)", ConsoleOut},
		{"XenbusStateUnknown", int64(StateUnknown)}, {"XenbusStateInitialising", int64(StateInitialising)},
		{"XenbusStateInitWait", int64(StateInitWait)}, {"XenbusStateInitialised", int64(StateInitialised)},
		{"XenbusStateConnected", int64(StateConnected)}, {"XenbusStateClosing", int64(StateClosing)},
		{"XenbusStateClosed", int64(StateClosed)}, {"XenbusStateReconfiguring", int64(StateReconfiguring)},
		{"XenbusStateReconfigured", int64(StateReconfigured)},
	}
}

// TestHeaders compares every layout and constant with Xen's public headers.
func TestHeaders(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("SKIPPED: no gcc: layouts are not compared with Xen's headers")
	}
	if _, err := os.Stat("/usr/include/xen/io/netif.h"); err != nil {
		t.Skip("SKIPPED: no package libxen-dev: layouts are not compared with Xen's headers")
	}
	pins := append(layouts(), constants()...)
	var src bytes.Buffer
	src.WriteString(`#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/netif.h>
#include <xen/io/xs_wire.h>
#include <xen/io/console.h>
#include <xen/io/xenbus.h>
int main(void) {
`)
	for _, p := range pins {
		fmt.Fprintf(&src, "\tprintf(\"%%lld\\n\", (long long)(%s));\n", p.c)
	}
	src.WriteString("\treturn 0;\n}\n")
	dir := t.TempDir()
	file, bin := filepath.Join(dir, "pins.c"), filepath.Join(dir, "pins")
	if err := os.WriteFile(file, src.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-o", bin, file).CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(bytes.NewReader(out))
	for _, p := range pins {
		var is int64
		if !in.Scan() {
			t.Fatalf("no value of %s", p.c)
		}
		if _, err := fmt.Sscan(in.Text(), &is); err != nil || is != p.is {
			t.Errorf("%s is %s in Xen's headers, %d here", p.c, in.Text(), p.is)
		}
	}
}
