# Two ways to the same image, a static binary on nothing:
#
#   docker build -t o2ims .            compiles here (needs the golang base image)
#   make image                         takes bin/o2ims as it is (needs no network)

# prebuilt: from a folder laid out by hack/image.sh.
FROM scratch AS prebuilt
COPY dist/image/ /
USER 65532:65532
ENTRYPOINT ["/o2ims"]

FROM golang:1.26 AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates pci.ids
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
COPY manifests manifests
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /image/o2ims ./cmd/o2ims && \
    install -D -m 644 /usr/share/misc/pci.ids /image/usr/share/misc/pci.ids && \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM scratch AS o2ims
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/o2ims"]
