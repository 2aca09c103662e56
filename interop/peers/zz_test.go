package peers_test
import ("testing";"time";"github.com/sotto-voip/sotto/interop/peers")
func TestZZ(t *testing.T){
 s:=peers.Start(t,peers.Murmur134,peers.ServerOptions{})
 a:=time.Now()
 c:=peers.StartStock(t,peers.StockOptions{Addr:s.Addr(),Name:"alice",Server:s})
 t.Log(time.Since(a))
 for i:=range 2 { time.Sleep(2*time.Second); t.Log(c.Titles()); c.Screenshot([]string{"/tmp/e0.png","/tmp/e1.png","/tmp/e2.png","/tmp/e3.png"}[i]);  }
}
