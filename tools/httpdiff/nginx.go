package httpdiff

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"ampoule/libos/freeport"
)

// nginxConfig has it do what a compiled site does: the same types, charset, cache
// rules, precompressed files, redirects and page. if_modified_since is what RFC 9110,
// section 13.1.3, says; nginx's default wants the exact date.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
load_module /usr/lib/nginx/modules/ngx_http_brotli_static_module.so;
events { worker_connections 64; }
http {
	access_log off;
	server_tokens off;
	client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
	types {
		text/html html; text/css css; text/javascript js; text/plain txt; application/json json; application/xml xml;
		image/svg+xml svg; image/jpeg jpg; image/png png; font/woff2 woff2;
	}
	default_type application/octet-stream;
	charset utf-8;
	charset_types text/html text/css text/javascript text/plain application/xml image/svg+xml;
	gzip_static on;
	gzip_vary on;
	brotli_static on;
	if_modified_since before;
	absolute_redirect off;
	keepalive_requests 1000000;
	map "$status $uri" $cache {
		"~^(200|206|304) .*(/|\.html)$" no-cache;
		"~^(200|206|304) " max-age=3600;
	}
	server {
		listen 127.0.0.1:%[2]d;
		root %[3]s;
		index index.html;
		add_header Cache-Control $cache;
		error_page 404 /404.html;
		location = /old { return 301 /about.html$is_args$args; }
		location = /temporary/ { return 307 https://example.net/x$is_args$args; }
	}
}
`

// Nginx is one that runs.
type Nginx struct {
	Addr    string
	cmd     *exec.Cmd
	out     bytes.Buffer
	release func() error // its port
}

// StartNginx starts one for a folder, with its own files in dir.
func StartNginx(dir, folder string) (*Nginx, error) {
	port, release, err := freeport.Reserve()
	if err != nil {
		return nil, err
	}
	n := &Nginx{Addr: fmt.Sprintf("127.0.0.1:%d", port), release: release}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, port, folder), 0o644); err != nil {
		release()
		return nil, err
	}
	n.cmd = exec.Command("nginx", "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", config)
	n.cmd.Stdout, n.cmd.Stderr = &n.out, &n.out
	// It goes when we go, whatever the reason.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		release()
		return nil, fmt.Errorf("nginx: %w (tools/setup/setup.sh test installs it)", err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", n.Addr)
		if err == nil {
			conn.Close()
			return n, nil
		}
		if time.Now().After(end) {
			n.Close()
			return nil, fmt.Errorf("nginx does not start: %v; %s", err, n.out.Bytes())
		}
	}
}

// Close ends it.
func (n *Nginx) Close() {
	n.cmd.Process.Kill()
	n.cmd.Wait()
	n.release()
}
