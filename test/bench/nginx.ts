/**
 * nginx as the best caching proxy for npm one can make of it: the outer tier keeps finished bytes
 * for each form and encoding; what it lacks comes from an inner tier that has tarball addresses
 * rewritten and the result compressed, once for each fill.
 */
export type NginxOptions = {
  readonly folder: string
  /** Without a slash at its end. */
  readonly upstream: string
  readonly outer: number
  readonly inner: number
}

const temporaries = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

export const nginxSettings = ({ folder, upstream, outer, inner }: NginxOptions): string => `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes auto;
pid ${folder}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 10000000;
  keepalive_timeout 65s;
  open_file_cache max=20000 inactive=10m;
  open_file_cache_valid 60s;
${temporaries.map(name => `  ${name}_temp_path ${folder}/temporary/${name};`).join('\n')}
  proxy_cache_path ${folder}/cache levels=1:2 keys_zone=finished:32m max_size=10g use_temp_path=off;
  map $http_accept $form { default full; "~application/vnd.npm.install-v1" abbreviated; }
  map $http_accept_encoding $encoding { default ""; "~gzip" gzip; }
  upstream registry { server ${upstream.replace('http://', '')}; keepalive 64; }
  upstream rewriting { server 127.0.0.1:${inner}; keepalive 64; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_cache_lock on;
  proxy_cache_revalidate on;
  proxy_ignore_headers Cache-Control Expires Vary;
  server {
    listen 127.0.0.1:${outer};
    proxy_cache finished;
    location / {
      proxy_pass http://rewriting;
      proxy_set_header Connection "";
      proxy_set_header Accept-Encoding $encoding;
      proxy_cache_key "$form $encoding $uri";
      proxy_cache_valid 200 30m;
    }
    location ~ /-/[^/]+\\.tgz$ {
      proxy_pass http://registry;
      proxy_cache_key $uri;
      proxy_cache_valid 200 365d;
    }
    location /-/ { proxy_pass http://registry; proxy_cache off; }
  }
  server {
    listen 127.0.0.1:${inner};
    gzip on;
    gzip_comp_level 6;
    gzip_proxied any;
    gzip_types application/json application/vnd.npm.install-v1+json;
    location / {
      proxy_pass http://registry;
      proxy_set_header Connection "";
      proxy_set_header Accept-Encoding "";
      sub_filter '${upstream}/' 'http://127.0.0.1:${outer}/';
      sub_filter_once off;
      sub_filter_last_modified on;
      sub_filter_types application/json application/vnd.npm.install-v1+json;
    }
  }
}
`
