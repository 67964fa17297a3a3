package manager

import (
	"time"

	"github.com/o2ims/o2ims/pkg/controller"
	"github.com/o2ims/o2ims/pkg/inventory"
)

// infrastructure is the inventory: the read model, what feeds it, and its API.
type infrastructure struct {
	model  *inventory.Model
	ingest *controller.Ingest
	api    *inventory.API
}

// newInfrastructure adds the reconcilers that feed the model.
func newInfrastructure(f *foundation, follow *configured) (*infrastructure, error) {
	o := f.options
	model, err := inventory.New(inventory.Options{
		OCloudID: o.OCloudID, GlobalCloudID: o.GlobalCloudID, Name: o.Name, Description: o.Description,
		ServiceURI: o.externalURL(),
	})
	if err != nil {
		return nil, err
	}
	parts := controller.Parts{Namespace: o.Namespace, Configured: follow, SMO: f.out}
	ingest, err := controller.SetUp(f.mgr, model, o.Ingest, parts, f.registry)
	if err != nil {
		return nil, err
	}
	o.Inventory.Served = follow.serves(inventoryName)
	o.Inventory.Credentials = controller.ClusterTokens(f.kube.CoreV1(), o.Inventory.DeployerServiceAccount, time.Now)
	return &infrastructure{model, ingest, inventory.NewAPI(model, f.access.authorizer, o.Inventory, f.pager)}, nil
}

// globalCloudID is what the SMO calls the O-Cloud at the moment; empty while it does not.
func (i *infrastructure) globalCloudID() string { return i.model.OCloud().GlobalCloudID }
