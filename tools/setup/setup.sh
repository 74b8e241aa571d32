#!/bin/sh
# Makes sure that what a make target needs is there, and installs what is not:
#
#	setup.sh [build|run|test|bench|xen]...
#
# Every line of output is a reason to stop or a package installed; a machine
# that has all says nothing. As root on Debian it installs missing packages,
# elsewhere it says which they are. It takes well under a second when nothing
# is missing.
set -eu
cd "$(dirname "$0")/../.."

stop() {
	echo "setup: $*" >&2
	exit 1
}

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] ||
	stop "this is $(uname -s) on $(uname -m), but images are built and booted on Linux on x86_64 only"

# go.work names the release; an older go fetches it by itself unless told not to.
pin=$(sed -n 's/^toolchain go//p' go.work)
minor=$(echo "$pin" | cut -d. -f1,2)
command -v go >/dev/null ||
	stop "go is not installed: get Go $minor from https://go.dev/dl/ (any Go since 1.21 will do, it fetches $pin)"
have=$(go env GOVERSION 2>&1) ||
	stop "go cannot provide Go $minor: $(echo "$have" | tail -1)"
case $have in
go$minor | go$minor.* | go$minor-*) ;;
*) stop "$have is not supported: images are built with Go $minor.x; export GOTOOLCHAIN=go$pin and go fetches it" ;;
esac

# command (or file) and the Debian package that brings it
needs=
want() { needs="$needs $1:$2"; }
for purpose in "${@:-build}"; do
	case $purpose in
	build) ;;
	run) want qemu-system-x86_64 qemu-system-x86; want dig bind9-dnsutils ;;
	test) want qemu-system-x86_64 qemu-system-x86; want dig bind9-dnsutils; want ip iproute2; want xz xz-utils
		want gcc gcc; want /usr/include/stdio.h libc6-dev; want /usr/include/xen/xen.h libxen-dev
		want dnsmasq dnsmasq-base; want rsyslogd rsyslog; want /usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so rsyslog-gnutls; want dnsperf dnsperf
		# backend and judge of the TLS terminator; what the responses of sites are compared with
		want nginx nginx-light; want testssl testssl.sh
		want /usr/lib/nginx/modules/ngx_http_brotli_static_module.so libnginx-mod-http-brotli-static
		# judges of signed zones and of zone files
		want delv bind9-dnsutils; want ldns-verify-zone ldnsutils; want kzonecheck knot-dnssecutils; want nsd-checkzone nsd; want knotd knot
		# clients of the management plane and of DNS over TLS
		want curl curl; want openssl openssl; want ssh openssh-client; want kdig knot-dnsutils; want tshark tshark
		# shells that ampctl completes in
		want zsh zsh; want fish fish; want /usr/share/bash-completion/bash_completion bash-completion
		# a browser for the web sites
		want chromium-headless-shell chromium-headless-shell ;;
	# Xen itself is not installed, which would touch the boot loader:
	# tools/xenrig unpacks its packages below build/.
	xen) want qemu-system-x86_64 qemu-system-x86; want xz xz-utils; want dpkg-deb dpkg ;;
	# The peers' packages are unpacked below build/ too.
	bench) want qemu-system-x86_64 qemu-system-x86; want ip iproute2; want xz xz-utils
		want gcc gcc; want /usr/include/stdio.h libc6-dev ;;
	*) stop "unknown purpose $purpose" ;;
	esac
done

missing=
packages=
for n in $needs; do
	what=${n%:*}
	[ -e "$what" ] || command -v "$what" >/dev/null || {
		case " $packages " in *" ${n#*:} "*) continue ;; esac
		missing="$missing $what"
		packages="$packages ${n#*:}"
	}
done
[ -n "$packages" ] || exit 0

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
	stop "missing:$missing. As root on Debian: apt-get install --no-install-recommends$packages"
echo "setup: installing$packages"
log=$(mktemp)
# Tests start the name servers that they need; no package is to start its own.
policy=/usr/sbin/policy-rc.d
if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; fi
trap 'rm -f "$log" $policy' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
{ apt-get install -y --no-install-recommends $packages ||
	{ apt-get update && apt-get install -y --no-install-recommends $packages; }; } >"$log" 2>&1 || {
	cat "$log" >&2
	stop "could not install$packages (see above)"
}
