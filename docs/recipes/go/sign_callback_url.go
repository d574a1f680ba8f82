// Signs a callback URL: go run sign_callback_url.go ADDRESS SOURCE [NAME=VALUE]...
// The secret is in GATEWAY_SECRET.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// SignCallbackURL returns the URL. Parameters: destination, expires (Unix seconds), action, key,
// messageid, service.
func SignCallbackURL(address, source, secret string, parameters url.Values) string {
	text := source + "\n" + parameters.Get("destination") + "\n" + parameters.Get("expires")
	for _, name := range []string{"action", "key", "messageid", "service"} {
		if parameters.Has(name) {
			text += "\n" + name + "=" + parameters.Get(name)
		}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	signature := hex.EncodeToString(mac.Sum(nil))
	return address + "?" + parameters.Encode() + "&signature=" + signature
}

func main() {
	parameters := url.Values{}
	for _, pair := range os.Args[3:] {
		name, value, _ := strings.Cut(pair, "=")
		parameters.Set(name, value)
	}
	fmt.Println(SignCallbackURL(os.Args[1], os.Args[2], os.Getenv("GATEWAY_SECRET"), parameters))
}
