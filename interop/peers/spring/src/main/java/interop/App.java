package interop;

import java.time.Duration;
import java.util.UUID;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.core.annotation.Order;
import org.springframework.http.MediaType;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.server.authorization.authentication.OAuth2ClientRegistrationAuthenticationProvider;
import org.springframework.security.oauth2.server.authorization.authentication.OAuth2ClientRegistrationAuthenticationValidator;
import org.springframework.security.oauth2.server.authorization.client.InMemoryRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;
import org.springframework.security.provisioning.InMemoryUserDetailsManager;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.authentication.LoginUrlAuthenticationEntryPoint;
import org.springframework.security.web.util.matcher.MediaTypeRequestMatcher;

/**
 * Spring Authorization Server on loopback: PORT, and AT_TTL, the life of access tokens in seconds. Registration is open, and may name
 * scopes. The person is test-user@localhost, password verysecure; the client "conf" has the secret "conf-secret", "pub" has none.
 */
@SpringBootApplication
public class App {
  public static void main(String[] args) {
    SpringApplication.run(App.class, args);
  }

  @Bean
  @Order(1)
  SecurityFilterChain endpoints(HttpSecurity http) throws Exception {
    http.oauth2AuthorizationServer(server -> {
      http.securityMatcher(server.getEndpointsMatcher());
      server.clientRegistrationEndpoint(r -> {
        r.openRegistrationAllowed(true);
        // By default a registration that names a scope is refused.
        r.authenticationProviders(all -> all.forEach(p -> {
          if (p instanceof OAuth2ClientRegistrationAuthenticationProvider registration) {
            registration.setAuthenticationValidator(OAuth2ClientRegistrationAuthenticationValidator.DEFAULT_REDIRECT_URI_VALIDATOR
                .andThen(OAuth2ClientRegistrationAuthenticationValidator.SIMPLE_SCOPE_VALIDATOR));
          }
        }));
      });
      server.pushedAuthorizationRequestEndpoint(Customizer.withDefaults());
      server.deviceAuthorizationEndpoint(Customizer.withDefaults());
    });
    http.authorizeHttpRequests(r -> r.requestMatchers("/oauth2/register").permitAll().anyRequest().authenticated());
    http.exceptionHandling(e -> e.defaultAuthenticationEntryPointFor(
        new LoginUrlAuthenticationEntryPoint("/login"), new MediaTypeRequestMatcher(MediaType.TEXT_HTML)));
    http.oauth2ResourceServer(r -> r.jwt(Customizer.withDefaults()));
    return http.build();
  }

  @Bean
  @Order(2)
  SecurityFilterChain pages(HttpSecurity http) throws Exception {
    return http.authorizeHttpRequests(r -> r.anyRequest().authenticated()).formLogin(Customizer.withDefaults()).build();
  }

  @Bean
  UserDetailsService people() {
    return new InMemoryUserDetailsManager(User.withUsername("test-user@localhost").password("{noop}verysecure").roles("USER").build());
  }

  @Bean
  RegisteredClientRepository clients() {
    RegisteredClient pub = client("pub").clientAuthenticationMethod(ClientAuthenticationMethod.NONE)
        .clientSettings(ClientSettings.builder().requireProofKey(true).build()).build();
    RegisteredClient conf = client("conf").clientSecret("{noop}conf-secret").clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
        .clientSettings(ClientSettings.builder().requireProofKey(true).requireAuthorizationConsent(true).build()).build();
    return new InMemoryRegisteredClientRepository(pub, conf);
  }

  private static RegisteredClient.Builder client(String id) {
    Duration life = Duration.ofSeconds(Long.parseLong(System.getenv("AT_TTL")));
    return RegisteredClient.withId(UUID.randomUUID().toString()).clientId(id).redirectUri("http://127.0.0.1/callback").scope("mcp:read")
        .authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE).authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
        .tokenSettings(TokenSettings.builder().accessTokenTimeToLive(life).reuseRefreshTokens(false).build());
  }
}
