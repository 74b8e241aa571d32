package sitefolder

// types are content types by extension, as registered with IANA where they are. It
// is a table of our own, since the machine's would make the image depend on it.
var types = map[string]string{
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml",
	".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".cjs": "text/javascript",
	".txt": "text/plain", ".text": "text/plain", ".log": "text/plain", ".asc": "text/plain",
	".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv", ".tsv": "text/tab-separated-values",
	".ics": "text/calendar", ".vcf": "text/vcard", ".vtt": "text/vtt", ".rtf": "application/rtf",
	".xml": "application/xml", ".xsl": "application/xslt+xml", ".rss": "application/rss+xml", ".atom": "application/atom+xml",
	".json": "application/json", ".map": "application/json", ".jsonld": "application/ld+json", ".geojson": "application/geo+json",
	".webmanifest": "application/manifest+json", ".wasm": "application/wasm", ".yaml": "application/yaml", ".yml": "application/yaml",
	".toml": "application/toml", ".sql": "application/sql", ".pdf": "application/pdf", ".ps": "application/postscript",

	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon", ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff",
	".apng": "image/apng", ".heic": "image/heic", ".jxl": "image/jxl",

	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf", ".ttc": "font/collection",
	".eot": "application/vnd.ms-fontobject",

	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".oga": "audio/ogg", ".ogg": "audio/ogg", ".opus": "audio/ogg",
	".flac": "audio/flac", ".wav": "audio/wav", ".weba": "audio/webm", ".mid": "audio/midi", ".midi": "audio/midi",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime",
	".mpeg": "video/mpeg", ".mpg": "video/mpeg", ".ts": "video/mp2t", ".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml",

	".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip", ".zst": "application/zstd", ".7z": "application/x-7z-compressed",
	".bz2": "application/x-bzip2", ".xz": "application/x-xz", ".tar": "application/x-tar", ".epub": "application/epub+zip",
	".jar": "application/java-archive", ".apk": "application/vnd.android.package-archive",
	".iso": "application/octet-stream", ".deb": "application/vnd.debian.binary-package",
	".doc": "application/msword", ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xls": "application/vnd.ms-excel", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".ppt": "application/vnd.ms-powerpoint", ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt": "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet", ".odp": "application/vnd.oasis.opendocument.presentation",
}
