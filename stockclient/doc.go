// Package stockclient finds the stock Mumble client on this machine: its program,
// its settings, and the certificate by which servers know its user. It reads and
// never writes, and asks nothing of the network.
//
// What it reads, of which client (src/mumble/Settings.cpp, Global.cpp, main.cpp and
// SettingsKeys.h of mumble-voip/mumble; files of 1.3.4 and 1.5.735 were looked at):
//
//	Mumble.conf            1.3, 1.4   INI of QSettings (Qt 5): net/certificate,
//	                                  net/proxytype 0 none 1 HTTP 2 SOCKS5,
//	                                  net/proxyhost, net/proxyport, net/suppress,
//	                                  ui/username, overlay/version
//	mumble_settings.json   1.5, 1.6   certificate (base64), network.proxy_type None
//	                                  Http Socks5, network.proxy_host, .proxy_port,
//	                                  last_connection.username
//	MumbleAutomaticCertificateBackup.p12, in the user's documents: written when the
//	                                  client makes a certificate by itself, and read
//	                                  back by it when its settings hold none
//
// All three hold the certificate as PKCS#12 without a password; package keystore
// opens it. 1.5 and later do not save that they hide the certificate. On Windows and
// macOS 1.3 and 1.4 keep settings in the registry and in a property list, which are
// not read (ErrUnread): there only the backup is found of them.
//
// Names and passwords for a proxy are left where they are.
package stockclient
