package stockclient

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of what is read. A settings file has some ten kilobytes.
const (
	maxSettings = 4 << 20 // bytes
	maxName     = 256     // bytes of a name or host
)

// ErrSettings means a settings file that the client itself could not read.
var ErrSettings = errors.New("stockclient: not the settings of a Mumble client")

// Settings are what Sotto wants to know of a client's settings.
type Settings struct {
	// Version is that of the client that wrote them, as far as it can be told;
	// empty: not at all.
	Version string
	// Certificate is PKCS#12 without a password; nil: none.
	Certificate []byte
	// Proxy is where the client's connections go through.
	Proxy Proxy
	// Hidden says that the client shows servers no certificate.
	Hidden bool
	// Username is the name with which it connected last.
	Username string
}

// ProxyType is the kind of a proxy (Settings::ProxyType in src/mumble/Settings.h).
type ProxyType uint8

// ProxyOther is what no client known to us writes; it counts as a proxy.
const (
	ProxyNone ProxyType = iota
	ProxyHTTP
	ProxySOCKS5
	ProxyOther
)

// Proxy is a proxy as set in the client.
type Proxy struct {
	Type ProxyType
	Host string
	Port uint16
}

// Set reports whether the client uses a proxy.
func (p Proxy) Set() bool { return p.Type != ProxyNone }

// URL writes the proxy as a URL without name and password, "" if that cannot be.
func (p Proxy) URL() string {
	if p.Host == "" || p.Port == 0 {
		return ""
	}
	u := url.URL{Host: net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))}
	switch p.Type {
	case ProxyHTTP:
		u.Scheme = "http"
	case ProxySOCKS5:
		u.Scheme = "socks5"
	case ProxyNone, ProxyOther:
		return ""
	}
	return u.String()
}

// ParseINI reads Mumble.conf of 1.3 and 1.4.
func ParseINI(b []byte) (Settings, error) {
	if len(b) > maxSettings {
		return Settings{}, ErrSettings
	}
	v := parseINI(b)
	return Settings{
		Version:     version(text(v["overlay/version"])),
		Certificate: byteArray(v["net/certificate"]),
		Proxy:       newProxy(iniProxyType(v), text(v["net/proxyhost"]), text(v["net/proxyport"])),
		Hidden:      truth(text(v["net/suppress"])),
		Username:    short(text(v["ui/username"])),
	}, nil
}

// iniProxyType is the number of net/proxytype (QVariant::toInt). What is no number
// is 0 for the client and no proxy we know for us: better to ask once too often.
func iniProxyType(v map[string]string) ProxyType {
	s, ok := v["net/proxytype"]
	if !ok {
		return ProxyNone
	}
	switch s {
	case "0":
		return ProxyNone
	case "1":
		return ProxyHTTP
	case "2":
		return ProxySOCKS5
	}
	return ProxyOther
}

// truth is QVariant::toBool of a string.
func truth(s string) bool { return s != "" && s != "0" && !strings.EqualFold(s, "false") }

// ParseJSON reads mumble_settings.json of 1.5 and later. Fields of another type
// than the client writes count as not there, but for the kind of the proxy.
func ParseJSON(b []byte) (Settings, error) {
	if len(b) > maxSettings {
		return Settings{}, ErrSettings
	}
	// Maps and not a struct: to encoding/json "Certificate" would be the same key.
	var top map[string]json.RawMessage
	if json.Unmarshal(b, &top) != nil || top == nil || top["settings_version"] == nil {
		return Settings{}, ErrSettings
	}
	s := Settings{Version: "1.5 or later"}
	if c, err := base64.StdEncoding.DecodeString(jsonString(top["certificate"])); err == nil && len(c) > 0 {
		s.Certificate = c
	}
	network := object(top["network"])
	var port json.Number
	if json.Unmarshal(network["proxy_port"], &port) != nil {
		port = ""
	}
	s.Proxy = newProxy(jsonProxyType(network["proxy_type"]), jsonString(network["proxy_host"]), port.String())
	s.Username = short(jsonString(object(top["last_connection"])["username"]))
	return s, nil
}

// jsonProxyType reads network.proxy_type (PROXY_TYPE_VALUES in
// src/mumble/EnumStringConversions.cpp).
func jsonProxyType(raw json.RawMessage) ProxyType {
	if raw == nil || string(raw) == "null" {
		return ProxyNone
	}
	switch jsonString(raw) {
	case "None":
		return ProxyNone
	case "Http":
		return ProxyHTTP
	case "Socks5":
		return ProxySOCKS5
	}
	return ProxyOther
}

func object(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func jsonString(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func newProxy(t ProxyType, host, port string) Proxy {
	if t == ProxyNone {
		return Proxy{}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		n = 0
	}
	return Proxy{Type: t, Host: short(host), Port: uint16(n)}
}

// short drops what is too long to be a name.
func short(s string) string {
	if len(s) > maxName {
		return ""
	}
	return s
}

var versionForm = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,5}){1,3}`)

// version takes the numbers off the front of a version, as "1.3.4" of "1.3.4-4".
func version(s string) string { return versionForm.FindString(short(s)) }
