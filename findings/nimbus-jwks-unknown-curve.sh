#!/usr/bin/env bash
# Product: Nimbus JOSE+JWT 10.9.1 (Maven Central, com.nimbusds:nimbus-jose-jwt).
# Expected: JWKSet.parse treats every key that it cannot read alike: RFC 7517 section 5
# says that keys with an unknown "kty" or with values outside the supported ranges
# SHOULD be ignored.
# Instead: an unknown "kty" is skipped in silence, an unknown "crv" throws
# ParseException for the whole set, and the good key beside it is lost.
# A server that tries a new curve breaks readers that survive a new key type; a
# client should skip what it cannot read key by key.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >pom.xml <<'X'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>p</groupId><artifactId>p</artifactId><version>1</version>
<dependencies><dependency><groupId>com.nimbusds</groupId><artifactId>nimbus-jose-jwt</artifactId><version>10.9.1</version></dependency></dependencies></project>
X
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
cat >T.java <<'J'
import com.nimbusds.jose.jwk.JWKSet;
public class T {
  static String read(String first) {
    String good = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"good\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}", r;
    try { r = "keys read: " + JWKSet.parse("{\"keys\":[" + first + good + "]}").getKeys().size(); } catch (Exception e) { r = e.getClass().getSimpleName() + ": " + e.getMessage(); }
    System.out.println((first.isEmpty() ? "good key alone" : first) + " -> " + r);
    return r;
  }
  public static void main(String[] a) {
    boolean ok = read("").equals("keys read: 1") & read("{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AAAA\"},").equals("keys read: 1")
      & read("{\"kty\":\"EC\",\"crv\":\"P-999\",\"x\":\"AAAA\",\"y\":\"AAAA\"},").startsWith("ParseException");
    System.exit(ok ? 0 : 1);
  }
}
J
ls lib/nimbus-jose-jwt-*.jar | xargs basename
java -cp 'lib/*' T.java
