#!/usr/bin/env bash
# Product: ScribeJava 8.3.3 (Maven Central, com.github.scribejava:scribejava-core).
# Expected: a token with a lifetime of more than 68 years in seconds, which servers use
# for "does not end", is read as a large number or refused: RFC 6749 appendix A.14
# gives expires_in any number of digits.
# Instead: the number is cut to 32 bits without an error: 4294967295 becomes -1,
# 4294967296 becomes 0 and 9999999999 becomes 1410065407. A token that hardly ends is
# one that ended before it came, and a program refreshes before every request.
# A client should read expires_in into 64 bits and cap it, never wrap it.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >pom.xml <<'X'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>p</groupId><artifactId>p</artifactId><version>1</version>
<dependencies><dependency><groupId>com.github.scribejava</groupId><artifactId>scribejava-core</artifactId><version>8.3.3</version></dependency></dependencies></project>
X
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
cat >T.java <<'J'
import com.github.scribejava.core.extractors.OAuth2AccessTokenJsonExtractor;
import com.github.scribejava.core.model.Response;
import java.util.Map;
public class T {
  static Integer read(String n) throws Exception {
    Integer r = OAuth2AccessTokenJsonExtractor.instance().extract(new Response(200, "OK", Map.of(), "{\"access_token\":\"at\",\"token_type\":\"Bearer\",\"expires_in\":" + n + "}")).getExpiresIn();
    System.out.println("expires_in " + n + " -> getExpiresIn() " + r);
    return r;
  }
  public static void main(String[] a) throws Exception {
    boolean ok = read("3600") == 3600 & read("4294967295") == -1 & read("4294967296") == 0 & read("9999999999") == 1410065407;
    System.exit(ok ? 0 : 1);
  }
}
J
ls lib/scribejava-core-*.jar | xargs basename
java -cp 'lib/*' T.java
